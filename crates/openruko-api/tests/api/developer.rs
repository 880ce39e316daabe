//! A developer at the Platform API, over real HTTP. Every answer is held against the OpenAPI document.

use jsonschema::Validator;
use ruko_api_types::NewToken;
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::{HeaderMap, Request};

use super::world::{World, user};

pub(crate) struct Developer {
    agent: Agent,
    url: String,
    pub(crate) token: String,
    document: Value,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The answer of a call that must succeed with this status.
    #[track_caller]
    pub(crate) fn with(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// Status, id and message of a refusal.
    #[track_caller]
    pub(crate) fn refused(self) -> (u16, String, String) {
        let body = self.json();
        let text = |key: &str| body[key].as_str().unwrap_or_else(|| panic!("no {key}: {body}")).to_owned();
        assert!(self.status >= 400, "{body}");
        (self.status, text("id"), text("message"))
    }
}

impl Developer {
    /// The user of that name, made if they are not there yet.
    pub(crate) fn named(world: &World, name: &str) -> Self {
        world.admin.add_user(&user(name)).unwrap();
        let new = NewToken { description: "test".into(), expires_in: None };
        Self::with_token(world, &world.admin.add_token(&user(name), &new).unwrap().token)
    }

    pub(crate) fn with_token(world: &World, token: &str) -> Self {
        let agent: Agent = Agent::config_builder().http_status_as_error(false).build().into();
        let mut document = agent.get(format!("{}/openapi.json", world.public_url)).call().unwrap();
        let document = document.body_mut().read_json().unwrap();
        Self { agent, url: world.public_url.clone(), token: token.to_owned(), document }
    }

    /// The same developer with a connection of their own.
    pub(crate) fn again(&self) -> Self {
        let agent = Agent::config_builder().http_status_as_error(false).build().into();
        Self { agent, url: self.url.clone(), token: self.token.clone(), document: self.document.clone() }
    }

    /// Any request; without `authorization` it carries the token.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("Accept", "application/vnd.heroku+json; version=3");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
            request = request.header("Authorization", bearer);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = self.agent.run(request.body(body).unwrap()).unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        let answer = Answer { status: response.status().as_u16(), headers: response.headers().clone(), text };
        self.check(method, path, &answer);
        answer
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    pub(crate) fn range(&self, path: &str, range: &str) -> Answer {
        self.send("GET", path, &[("Range", range)], b"")
    }

    pub(crate) fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        let json = [("Content-Type", "application/json")];
        self.send(method, path, &json, body.to_string().as_bytes())
    }

    pub(crate) fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, body)
    }

    pub(crate) fn patch(&self, path: &str, body: Value) -> Answer {
        self.call("PATCH", path, body)
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], b"")
    }

    /// A new app of the developer's own.
    pub(crate) fn app(&self, name: &str) -> Value {
        self.post("/apps", json!({ "name": name })).with(201)
    }

    /// The answer is as the document says, if the document knows the call.
    fn check(&self, method: &str, path: &str, answer: &Answer) {
        // The pages for browsers are no part of the document.
        if answer.header("content-type").starts_with("text/html") {
            return;
        }
        let Some(operation) = self.operation(method, path) else { return };
        let status = answer.status.to_string();
        let responses = &operation["responses"];
        let success = answer.status < 300;
        assert!(!success || responses.get(&status).is_some(), "{method} {path}: {status} is not documented");
        let reference = "#/components/responses/Error";
        let content = match success {
            true => &responses[&status]["content"]["application/json"]["schema"],
            false => {
                &self.document["components"]["responses"]["Error"]["content"]["application/json"]["schema"]
            }
        };
        if content.is_null() {
            return;
        }
        let mut schema = content.clone();
        schema["components"] = self.document["components"].clone();
        let validator: Validator = jsonschema::validator_for(&schema).unwrap();
        let body = answer.json();
        let errors: Vec<String> = validator.iter_errors(&body).map(|e| format!("{e}")).collect();
        assert!(errors.is_empty(), "{method} {path} ({reference}): {errors:?}: {body}");
    }

    fn operation(&self, method: &str, path: &str) -> Option<&Value> {
        let path = path.split('?').next().unwrap();
        let fits = |template: &str| {
            let (given, known): (Vec<_>, Vec<_>) = (path.split('/').collect(), template.split('/').collect());
            given.len() == known.len() && given.iter().zip(known).all(|(g, k)| k.starts_with('{') || *g == k)
        };
        let paths = self.document["paths"].as_object().unwrap();
        // A template without a parameter at a place is nearer than one with.
        let fitting = paths.iter().filter(|(template, _)| fits(template));
        let nearest = fitting.min_by_key(|(template, _)| template.matches('{').count());
        nearest?.1.get(method.to_ascii_lowercase())
    }
}
