//! `ssh git@host` without a command: who you are, and what can be done here.
//!
//! It ends with 0, as GitLab's and Gitea's greetings do: a script may ask in this way whether a key opens.
//! What is asked for beyond git is refused with 1.

use std::process::ExitCode;

use ruko_api_types::{Greeting, Key};
use ruko_core::{Exit, Fault, UserName, message};

use crate::context::Context;
use crate::ending::api_down;
use crate::terminal;

/// Tells the user. On stderr, like everything that people read: stdout is git's.
pub(crate) fn greet(context: &Context, user: &UserName, key: Option<&str>) -> Result<ExitCode, Fault> {
    let greeting = context.api.greeting(user, key.unwrap_or_default()).map_err(|why| api_down(&why))?;
    lines(user, &greeting).iter().for_each(|line| terminal::say(line));
    Ok(Exit::Ok.into())
}

fn lines(user: &UserName, greeting: &Greeting) -> Vec<String> {
    let Greeting { email, key, apps, app_count, ssh_url, api_url } = greeting;
    let email = email.as_ref().map(|email| format!(" <{}>", plain(email))).unwrap_or_default();
    let with = key.as_ref().map(|key| format!(", with the key {}", named(key))).unwrap_or_default();
    let mut lines = vec![message::step(format!("You are {user}{email}{with}"))];
    match apps.first() {
        None => lines.push(message::step("You have no apps yet")),
        Some(_) => lines.push(message::step(format!("Your apps ({app_count})"))),
    }
    lines.extend(apps.iter().map(message::detail));
    let more = app_count.saturating_sub(apps.len() as u64);
    if more > 0 {
        lines.push(message::detail(format!("and {more} more: openruko apps")));
    }
    lines.push(message::step("There is no shell here. What you can do:"));
    let app = apps.first().map_or("APP", |app| app.as_str());
    if let Some(url) = ssh_url {
        let url = url.replace("{app}", app);
        lines.push(message::detail(format!("git clone {url}")));
        lines.push(message::detail(format!("git remote add openruko {url} && git push openruko main")));
    }
    if let Some(url) = api_url {
        lines.push(message::detail(format!(
            "openruko login {url}, and then Heroku's commands: openruko create, openruko logs, …"
        )));
    }
    lines
}

/// `SHA256:… (matt@laptop)`.
fn named(key: &Key) -> String {
    match plain(&key.comment) {
        comment if comment.is_empty() => key.fingerprint.clone(),
        comment => format!("{} ({comment})", key.fingerprint),
    }
}

/// What users write of themselves drives no terminal.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting(apps: &[&str], app_count: u64) -> Greeting {
        Greeting {
            email: Some("ada@example.com".into()),
            key: Some(Key {
                fingerprint: "SHA256:abc".into(),
                public_key: "ssh-ed25519 AAAA".into(),
                comment: "ada@\u{1b}[2Jlaptop".into(),
                created_at: String::new(),
            }),
            apps: apps.iter().map(|name| name.parse().unwrap()).collect(),
            app_count,
            ssh_url: Some("ssh://git@paas.test:2222/{app}.git".into()),
            api_url: Some("https://paas.test".into()),
        }
    }

    #[test]
    fn it_says_who_and_what_and_names_only_so_many_apps() {
        let lines = lines(&"ada".parse().unwrap(), &greeting(&["blog", "shop"], 14));
        assert_eq!(lines[0], "-----> You are ada <ada@example.com>, with the key SHA256:abc (ada@[2Jlaptop)");
        assert_eq!(
            lines[1..5].join("\n"),
            "-----> Your apps (14)\n       blog\n       shop\n       and 12 more: openruko apps"
        );
        assert!(
            lines.contains(&"       git clone ssh://git@paas.test:2222/blog.git".to_owned()),
            "{lines:?}"
        );
    }

    #[test]
    fn without_apps_the_url_has_a_place_for_one() {
        let told = lines(&"ada".parse().unwrap(), &greeting(&[], 0)).join("\n");
        assert!(told.contains("no apps yet") && told.contains("/APP.git"), "{told}");
        let alone = Greeting { email: None, key: None, ssh_url: None, api_url: None, ..greeting(&[], 0) };
        assert_eq!(lines(&"ada".parse().unwrap(), &alone)[0], "-----> You are ada");
    }
}
