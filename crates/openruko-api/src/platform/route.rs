//! A call of the Platform API: what it is, who may use it, what it takes and gives.

use axum::handler::Handler;
use axum::http::{Method, StatusCode};
use axum::routing::{MethodFilter, MethodRouter, on};
use ruko_api_types::platform::Permission;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::Who;
use crate::api::Api;
use crate::rights::Need;

/// Bodies that name a thing or two, in bytes.
const SMALL: usize = 64 << 10;

/// Whoever may see the app.
pub(super) const VIEW: Who = Who::App(Need::Permission(Permission::View));
/// Whoever may deploy it.
pub(super) const DEPLOY: Who = Who::App(Need::Permission(Permission::Deploy));
/// Whoever may operate it.
pub(super) const OPERATE: Who = Who::App(Need::Permission(Permission::Operate));
/// Whoever may manage it.
pub(super) const MANAGE: Who = Who::App(Need::Permission(Permission::Manage));
/// Whoever owns it.
pub(super) const OWNER: Who = Who::App(Need::Ownership);

/// What a call is about, as far as the scope of a token goes
/// (<https://devcenter.heroku.com/articles/oauth#scopes>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Realm {
    /// Who the caller is.
    Identity,
    /// The caller's account, keys and tokens: for tokens of global scope alone.
    Account,
    /// Apps and what belongs to them.
    Apps,
    /// Their secrets.
    Secrets,
}

/// What is decided before a handler runs.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) who: Who,
    pub(super) realm: Realm,
}

/// Makes a type's schema.
pub(super) type Describe = fn(&mut SchemaGenerator) -> Schema;

/// A body that a call takes.
#[derive(Clone)]
pub(super) struct Taken {
    pub(super) media_type: &'static str,
    /// None for bytes.
    pub(super) describe: Option<Describe>,
}

/// A parameter that is not a part of the path.
#[derive(Clone)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    /// `query` or `header`, as OpenAPI has it.
    pub(super) place: &'static str,
    pub(super) is_required: bool,
    pub(super) says: &'static str,
}

/// What the OpenAPI document says beyond the rule.
#[derive(Clone)]
pub(super) struct Docs {
    pub(super) summary: &'static str,
    pub(super) parameters: Vec<Parameter>,
    pub(super) takes: Option<Taken>,
    /// None where every answer is a refusal.
    pub(super) status: Option<StatusCode>,
    pub(super) gives: Option<Describe>,
    /// Whether that is a list in pages.
    pub(super) is_paged: bool,
    /// Of an answer that is not JSON.
    pub(super) media_type: Option<&'static str>,
}

/// A row of the table.
pub(super) struct Route {
    pub(super) rule: Rule,
    /// The largest body, in bytes.
    pub(super) body: usize,
    /// Whether its body may take as long as it takes; its handler then says when it is too slow.
    pub(super) is_slow: bool,
    pub(super) answer: MethodRouter<Api>,
    pub(super) docs: Docs,
}

/// A call that is answered by `handler`.
fn route<H: Handler<T, Api>, T: 'static>(
    method: Method,
    filter: MethodFilter,
    path: &'static str,
    who: Who,
    handler: H,
) -> Route {
    Route {
        rule: Rule { method, path, who, realm: Realm::Apps },
        body: SMALL,
        is_slow: false,
        answer: on(filter, handler),
        docs: Docs {
            summary: "",
            parameters: Vec::new(),
            takes: None,
            status: Some(StatusCode::OK),
            gives: None,
            is_paged: false,
            media_type: None,
        },
    }
}

/// `GET`: see [`route`].
pub(super) fn get<H: Handler<T, Api>, T: 'static>(path: &'static str, who: Who, handler: H) -> Route {
    route(Method::GET, MethodFilter::GET, path, who, handler)
}

/// `POST`: see [`route`].
pub(super) fn post<H: Handler<T, Api>, T: 'static>(path: &'static str, who: Who, handler: H) -> Route {
    route(Method::POST, MethodFilter::POST, path, who, handler)
}

/// `PUT`: see [`route`].
pub(super) fn put<H: Handler<T, Api>, T: 'static>(path: &'static str, who: Who, handler: H) -> Route {
    route(Method::PUT, MethodFilter::PUT, path, who, handler)
}

/// `PATCH`: see [`route`].
pub(super) fn patch<H: Handler<T, Api>, T: 'static>(path: &'static str, who: Who, handler: H) -> Route {
    route(Method::PATCH, MethodFilter::PATCH, path, who, handler)
}

/// `DELETE`: see [`route`].
pub(super) fn delete<H: Handler<T, Api>, T: 'static>(path: &'static str, who: Who, handler: H) -> Route {
    route(Method::DELETE, MethodFilter::DELETE, path, who, handler)
}

impl Route {
    /// What it is for, in a few words.
    pub(super) fn says(mut self, summary: &'static str) -> Self {
        self.docs.summary = summary;
        self
    }

    /// What it is about, where that is not an app.
    pub(super) fn about(mut self, realm: Realm) -> Self {
        self.rule.realm = realm;
        self
    }

    /// The body that it takes.
    pub(super) fn takes<T: JsonSchema>(self) -> Self {
        self.takes_as("application/json", Some(SchemaGenerator::subschema_for::<T>))
    }

    /// What a form in a browser sends.
    pub(super) fn takes_form<T: JsonSchema>(self) -> Self {
        self.takes_as("application/x-www-form-urlencoded", Some(SchemaGenerator::subschema_for::<T>))
    }

    /// Bytes.
    pub(super) fn takes_bytes(self) -> Self {
        self.takes_as("application/octet-stream", None)
    }

    fn takes_as(mut self, media_type: &'static str, describe: Option<Describe>) -> Self {
        self.docs.takes = Some(Taken { media_type, describe });
        self
    }

    /// A parameter of the query that may be left out.
    pub(super) fn asks(self, name: &'static str, says: &'static str) -> Self {
        self.parameter(Parameter { name, place: "query", is_required: false, says })
    }

    /// The secret in the query without which there is nothing here.
    pub(super) fn opens_with(self, name: &'static str, says: &'static str) -> Self {
        self.parameter(Parameter { name, place: "query", is_required: true, says })
    }

    /// A header that it heeds.
    pub(super) fn heeds(self, name: &'static str, says: &'static str) -> Self {
        self.parameter(Parameter { name, place: "header", is_required: false, says })
    }

    fn parameter(mut self, parameter: Parameter) -> Self {
        self.docs.parameters.push(parameter);
        self
    }

    /// A body of up to so many bytes.
    pub(super) fn up_to(mut self, bytes: usize) -> Self {
        self.body = bytes;
        self
    }

    /// A body that may take as long as it takes.
    pub(super) fn slow(mut self) -> Self {
        self.is_slow = true;
        self
    }

    /// What it answers with 200.
    pub(super) fn gives<T: JsonSchema>(mut self) -> Self {
        self.docs.gives = Some(SchemaGenerator::subschema_for::<T>);
        self
    }

    /// The elements of the list that it answers with, in pages: see `Page`.
    pub(super) fn pages<T: JsonSchema>(mut self) -> Self {
        self.docs.is_paged = true;
        self.gives::<Vec<T>>()
    }

    /// What it answers with 201.
    pub(super) fn creates<T: JsonSchema>(self) -> Self {
        self.with(StatusCode::CREATED).gives::<T>()
    }

    /// Another status.
    pub(super) fn with(mut self, status: StatusCode) -> Self {
        self.docs.status = Some(status);
        self
    }

    /// It is there to say why not.
    pub(super) fn refuses(mut self) -> Self {
        self.docs.status = None;
        self
    }

    /// An answer that is not JSON.
    pub(super) fn streams(mut self, media_type: &'static str) -> Self {
        self.docs.media_type = Some(media_type);
        self
    }
}
