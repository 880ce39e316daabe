//! A user at the Platform API, over real HTTP.

use serde_json::Value;
use ureq::Agent;
use ureq::http::Request;

/// A user with a token.
pub struct Platform {
    agent: Agent,
    url: String,
    token: String,
}

impl Platform {
    pub(crate) fn new(url: String, token: String) -> Self {
        let agent = Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
        Self { agent, url, token }
    }

    /// Status and body of a call with the user's token.
    #[must_use]
    pub fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let bearer = format!("Bearer {}", self.token);
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("Accept", "application/vnd.heroku+json; version=3")
            .header("Content-Type", "application/json")
            .header("Authorization", bearer);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut response = self.agent.run(request.body(body).unwrap()).unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        (response.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// The body of a call, if it is answered with success: the server may be down.
    #[must_use]
    pub fn try_call(&self, method: &str, path: &str) -> Option<Value> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("Authorization", format!("Bearer {}", self.token));
        let mut response = self.agent.run(request.body(()).unwrap()).ok()?;
        let text = response.body_mut().read_to_string().ok()?;
        response.status().is_success().then(|| serde_json::from_str(&text).ok())?
    }

    /// The body of a call that must succeed.
    #[must_use]
    pub fn done(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.call(method, path, body);
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    }

    /// Uploads to a URL that is its own credential.
    pub fn put(&self, url: &str, bytes: &[u8]) {
        let response = self.agent.put(url).content_type("").send(bytes).unwrap();
        assert_eq!(response.status().as_u16(), 200, "PUT {url}");
    }

    /// Reads a URL that is its own credential, to its end.
    #[must_use]
    pub fn read(&self, url: &str) -> String {
        self.agent.get(url).call().unwrap().body_mut().read_to_string().unwrap()
    }
}
