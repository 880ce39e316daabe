//! The environment of a dyno.

use std::collections::BTreeMap;

use ruko_core::AppName;

use crate::plan::{Start, WEB};

/// Where programs are looked for, as on Heroku.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What a dyno finds in its environment. What an app sets itself goes before what the platform only proposes, and what
/// the platform says of the dyno goes before everything.
///
/// `MEMORY_AVAILABLE` is what Node.js's buildpack sizes itself by, in MB; how many workers there are is left to the
/// buildpacks (`WEB_CONCURRENCY`). The `HEROKU_*` are Heroku's dyno metadata
/// (<https://devcenter.heroku.com/articles/dyno-metadata>).
pub(crate) fn environment(
    start: &Start,
    app: &str,
    name: Option<&AppName>,
    port: u16,
) -> BTreeMap<String, String> {
    let release = &start.release;
    let mut env = BTreeMap::new();
    let mut set = |name: &str, value: String| drop(env.insert(name.to_owned(), value));
    set("PATH", PATH.to_owned());
    set("LANG", "C.UTF-8".to_owned());
    set("MEMORY_AVAILABLE", (start.size.memory_bytes >> 20).to_string());
    set("HEROKU_APP_ID", app.to_owned());
    name.into_iter().for_each(|name| set("HEROKU_APP_NAME", name.to_string()));
    set("HEROKU_DYNO_ID", start.id.clone());
    set("HEROKU_RELEASE_VERSION", format!("v{}", release.version));
    set("HEROKU_RELEASE_CREATED_AT", release.created_at.clone());
    if let Some(commit) = release.slug.as_ref().and_then(|slug| slug.commit.as_ref()) {
        set("HEROKU_SLUG_COMMIT", commit.clone());
    }
    release.config_vars.iter().for_each(|(name, value)| set(name.as_str(), value.clone()));
    start.env.iter().for_each(|(name, value)| set(name, value.clone()));
    set("HOME", "/app".to_owned());
    set("DYNO", start.name.to_string());
    if start.name.process_type.as_str() == WEB {
        set("PORT", port.to_string());
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sample;

    #[test]
    fn an_app_cannot_say_where_it_is() {
        let mut start = sample::start("web.1");
        for name in ["PORT", "DYNO", "HOME", "PATH", "KEY"] {
            start.release.config_vars.insert(name.parse().unwrap(), "mine".into());
        }
        let env = environment(&start, "id", Some(&"shop".parse().unwrap()), 5000);
        for (name, value) in [
            ("PORT", "5000"),
            ("DYNO", "web.1"),
            ("HOME", "/app"),
            ("PATH", "mine"),
            ("KEY", "mine"),
            ("MEMORY_AVAILABLE", "512"),
            ("HEROKU_APP_NAME", "shop"),
            ("HEROKU_RELEASE_VERSION", "v1"),
        ] {
            assert_eq!(env[name], value, "{name}");
        }
        assert!(!env.contains_key("WEB_CONCURRENCY"));
    }

    #[test]
    fn only_web_dynos_have_a_port_and_what_is_asked_for_one_command_goes_before_config_vars() {
        let mut start = sample::start("run.1");
        start.release.config_vars.insert("KEY".parse().unwrap(), "config".into());
        start.env.insert("KEY".into(), "run".into());
        start.env.insert("DYNO".into(), "web.1".into());
        let env = environment(&start, "id", None, 5000);
        assert_eq!((env["KEY"].as_str(), env["DYNO"].as_str(), env.get("PORT")), ("run", "run.1", None));
    }
}
