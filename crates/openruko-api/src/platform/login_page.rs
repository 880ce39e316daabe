//! The page of a login by browser: plain HTML that works without scripts, and lets nothing else in.

use std::sync::LazyLock;

use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8886; --accent: #4b3aa8; }
@media (prefers-color-scheme: dark) { :root { --accent: #a99bff; } }
* { box-sizing: border-box; }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0; padding: 2rem 1rem; }
main { max-width: 26rem; margin: 0 auto; padding: 2rem; border: 1px solid var(--line); border-radius: .75rem; }
h1 { font-size: 1.4rem; margin: 0 0 1rem; }
dl { margin: 0 0 1rem; }
dt { font-size: .85rem; opacity: .75; }
dd { margin: 0 0 .5rem; overflow-wrap: anywhere; }
label { display: block; margin: 1rem 0 .25rem; font-weight: 600; }
input { width: 100%; font: inherit; padding: .55rem .7rem; border: 1px solid var(--line); border-radius: .4rem; }
.hint { font-size: .85rem; opacity: .75; margin: .25rem 0 0; }
.note { padding: .6rem .8rem; border-left: .25rem solid #c77700; background: #c7770018; }
.problem { padding: .6rem .8rem; border-left: .25rem solid #c0392b; background: #c0392b18; }
.buttons { display: flex; gap: .75rem; margin-top: 1.5rem; }
button { flex: 1; font: inherit; font-weight: 600; padding: .6rem; border-radius: .4rem; cursor: pointer;
  border: 1px solid var(--line); background: transparent; color: inherit; }
button.allow { background: var(--accent); border-color: var(--accent); color: Canvas; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
";

/// Nothing but this style, and a form that is sent back here: <https://www.w3.org/TR/CSP3/>.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let style = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; frame-ancestors 'none'; \
         base-uri 'none'"
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// What the page asks.
pub(super) struct Question<'a> {
    /// What the program says that it is.
    pub(super) description: &'a str,
    /// Where it is.
    pub(super) program: &'a str,
    /// Whether that is another address than the browser's.
    pub(super) is_elsewhere: bool,
    /// What was typed before.
    pub(super) name: &'a str,
    /// Why the last answer was not taken.
    pub(super) problem: Option<&'a str>,
}

/// The form.
pub(super) fn question(status: StatusCode, asked: &Question<'_>) -> Response {
    let problem = asked.problem.map_or_else(String::new, |problem| {
        format!("<p class=\"problem\" role=\"alert\">{}</p>", escaped(problem))
    });
    let elsewhere = match asked.is_elsewhere {
        true => {
            "<p class=\"note\">This program is at another address than this browser. Go on only if it was \
             you who started it: whoever did will act in your name.</p>"
        }
        false => "",
    };
    let description =
        if asked.description.is_empty() { "a program without a name" } else { asked.description };
    let body = format!(
        "<h1>Log in to openruko</h1>
<p>A program asks to act in your name:</p>
<dl><dt>What it says that it is</dt><dd>{description}</dd><dt>Its address</dt><dd>{program}</dd></dl>
{elsewhere}{problem}
<form method=\"post\" autocomplete=\"on\">
<label for=\"name\">E-mail address or name</label>
<input id=\"name\" name=\"name\" value=\"{name}\" autocomplete=\"username\" autocapitalize=\"none\" \
spellcheck=\"false\" maxlength=\"254\">
<label for=\"password\">Password</label>
<input id=\"password\" name=\"password\" type=\"password\" autocomplete=\"current-password\">
<label for=\"code\">Code</label>
<input id=\"code\" name=\"code\" autocomplete=\"one-time-code\" aria-describedby=\"code-hint\" maxlength=\"40\">
<p class=\"hint\" id=\"code-hint\">Of your authenticator app, or a recovery code. Leave it empty if you did \
not turn that on.</p>
<div class=\"buttons\"><button class=\"allow\" name=\"decision\" value=\"allow\">Log in and allow</button>
<button name=\"decision\" value=\"deny\">Deny</button></div>
</form>",
        description = escaped(description),
        program = escaped(asked.program),
        name = escaped(asked.name),
    );
    page(status, "Log in", &body)
}

/// It was allowed.
pub(super) fn allowed() -> Response {
    told(StatusCode::OK, "You are logged in", "Go back to the program: you can close this page.")
}

/// It was denied.
pub(super) fn denied() -> Response {
    told(StatusCode::OK, "Denied", "The program did not get in. You can close this page.")
}

/// There is nothing to answer: unknown, answered before, or too late.
pub(super) fn over() -> Response {
    let text = "It was answered already, or it took too long. Start it again in your program.";
    told(StatusCode::NOT_FOUND, "This login is over", text)
}

fn told(status: StatusCode, title: &str, text: &str) -> Response {
    page(status, title, &format!("<h1>{title}</h1><p role=\"status\">{text}</p>"))
}

fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let html = format!(
        "<!DOCTYPE html>
<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title} – openruko</title>
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><style>{STYLE}</style></head>
<body><main>{body}</main></body></html>
"
    );
    let headers: [(HeaderName, HeaderValue); 4] = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (CONTENT_SECURITY_POLICY, POLICY.clone()),
    ];
    (status, headers, html).into_response()
}

/// Text that stands in HTML as it is, in an attribute with double quotes, too.
fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut html, c| {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
        html
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_cannot_become_html() {
        assert_eq!(escaped("<b a='\"&'>"), "&lt;b a=&#39;&quot;&amp;&#39;&gt;");
    }

    #[test]
    fn the_policy_names_the_style_and_nothing_else() {
        let policy = POLICY.to_str().unwrap();
        assert!(
            policy.contains("style-src 'sha256-") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
    }
}
