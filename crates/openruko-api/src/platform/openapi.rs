//! The OpenAPI document, put together from the table of calls: what is not in it cannot be called.

use std::sync::Arc;

use axum::Json;
use axum::http::StatusCode;
use axum::routing::{MethodRouter, get};
use ruko_api_types::ApiError;
use schemars::generate::{Contract, SchemaSettings};
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::Who;
use super::route::{Describe, Parameter, Route, Taken};
use crate::api::Api;

const HTML: &str = "text/html";

/// `GET /openapi.json`
pub(super) fn serve(document: Arc<Value>) -> MethodRouter<Api> {
    get(async move || Json(document.as_ref().clone()))
}

/// The document of these calls.
pub(super) fn document(routes: &[Route]) -> Value {
    // What is taken may leave out more than what is given: two generators over one set of names would
    // mix them up, so what is taken has names of its own.
    let mut taken = generator(Contract::Deserialize, "/components/schemas/taken");
    let mut given = generator(Contract::Serialize, "/components/schemas");
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let method = route.rule.method.as_str().to_ascii_lowercase();
        let operation = operation(route, &mut taken, &mut given);
        let path = paths.entry(route.rule.path).or_insert_with(|| json!({}));
        if let Value::Object(path) = path {
            path.insert(method, operation);
        }
    }
    let error = given.subschema_for::<ApiError>();
    let mut schemas = given.take_definitions(true);
    schemas.insert("taken".to_owned(), Value::Object(taken.take_definitions(true)));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "openruko Platform API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The API that the Heroku CLI and openruko speak: version 3 of Heroku's Platform API.",
        },
        "paths": paths,
        "components": {
            "schemas": flattened(schemas),
            "responses": { "Error": {
                "description": "Refused: what, why and what to do.",
                "content": { "application/json": { "schema": error } },
            } },
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
            },
        },
        "security": [{ "token": [] }],
    })
}

fn generator(contract: Contract, at: &'static str) -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = at.into();
        settings.meta_schema = None;
        settings.contract = contract;
    });
    settings.into_generator()
}

/// Component names have no slash in OpenAPI: `taken/NewApp` becomes `taken.NewApp`.
fn flattened(schemas: Map<String, Value>) -> Value {
    let mut flat = Map::new();
    for (name, schema) in schemas {
        match (name.as_str(), schema) {
            ("taken", Value::Object(taken)) => {
                flat.extend(taken.into_iter().map(|(name, schema)| (format!("taken.{name}"), schema)));
            }
            (_, schema) => {
                flat.insert(name, schema);
            }
        }
    }
    let mut flat = Value::Object(flat);
    rename_references(&mut flat);
    flat
}

fn rename_references(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(reference)) = object.get_mut("$ref") {
                *reference = reference.replace("/schemas/taken/", "/schemas/taken.");
            }
            object.values_mut().for_each(rename_references);
        }
        Value::Array(array) => array.iter_mut().for_each(rename_references),
        _ => {}
    }
}

fn operation(route: &Route, taken: &mut SchemaGenerator, given: &mut SchemaGenerator) -> Value {
    let docs = &route.docs;
    let mut operation = json!({
        "summary": docs.summary,
        "operationId": operation_id(route),
        "parameters": parameters(route),
        "responses": responses(route, given),
    });
    if let Some(body) = &docs.takes {
        let content = json!({ body.media_type: content(body, taken) });
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    if route.rule.who == Who::Anyone {
        operation["security"] = json!([]);
    }
    operation
}

fn content(body: &Taken, taken: &mut SchemaGenerator) -> Value {
    let Some(describe) = body.describe else { return json!({}) };
    let mut schema = schema(describe, taken);
    rename_references(&mut schema);
    json!({ "schema": schema })
}

fn schema(describe: Describe, generator: &mut SchemaGenerator) -> Value {
    let schema: Schema = describe(generator);
    schema.to_value()
}

fn responses(route: &Route, given: &mut SchemaGenerator) -> Value {
    let mut responses = json!({ "default": refusal(route, given) });
    let Some(status) = route.docs.status else { return responses };
    let success = success(route, given);
    if route.docs.is_paged {
        let mut page = success.clone();
        page["description"] = json!("A page of it: `Next-Range` asks for the next one.");
        page["headers"]["Next-Range"] = text_header("The `Range` of the next page.");
        responses[StatusCode::PARTIAL_CONTENT.as_str()] = page;
    }
    responses[status.as_str()] = success;
    responses
}

fn success(route: &Route, given: &mut SchemaGenerator) -> Value {
    let docs = &route.docs;
    let mut response = json!({ "description": docs.summary });
    if let Some(describe) = docs.gives {
        response["content"] = json!({ "application/json": { "schema": schema(describe, given) } });
    } else if let Some(media_type) = docs.media_type {
        response["content"] = json!({ media_type: {} });
    }
    if docs.is_paged {
        response["headers"] = json!({ "Content-Range": text_header("What of the list this is.") });
    }
    response
}

/// What a browser gets is a page, refused or not.
fn refusal(route: &Route, given: &mut SchemaGenerator) -> Value {
    if route.docs.media_type != Some(HTML) {
        return json!({ "$ref": "#/components/responses/Error" });
    }
    let error = given.subschema_for::<ApiError>();
    json!({
        "description": "Refused: what, why and what to do.",
        "content": { "application/json": { "schema": error }, HTML: {} },
    })
}

fn text_header(says: &str) -> Value {
    json!({ "description": says, "schema": { "type": "string" } })
}

/// `GET /apps/{app}/config-vars` is `get_apps_app_config-vars`.
fn operation_id(route: &Route) -> String {
    let method = route.rule.method.as_str().to_ascii_lowercase();
    format!("{method}{}", route.rule.path.replace('/', "_").replace('~', "me").replace(['{', '}'], ""))
}

/// Those of the path come first.
fn parameters(route: &Route) -> Value {
    let named = route.rule.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = named.map(|name| {
        json!({
            "name": name,
            "in": "path",
            "required": true,
            "schema": { "type": "string", "minLength": 1 },
        })
    });
    let range = route.docs.is_paged.then_some(&RANGE);
    in_path.chain(route.docs.parameters.iter().chain(range).map(parameter)).collect()
}

/// Of every list in pages.
const RANGE: Parameter = Parameter {
    name: "Range",
    place: "header",
    is_required: false,
    says: "Which page, as in `id ..; max=100, order=desc`; what cannot be read asks for the first one.",
};

fn parameter(parameter: &Parameter) -> Value {
    json!({
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.is_required,
        "description": parameter.says,
        "schema": { "type": "string" },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_operation_has_a_name_of_its_own_a_summary_and_the_parameters_of_its_path() {
        let routes = crate::platform::routes();
        let document = document(&routes);
        let mut ids = BTreeSet::new();
        for route in &routes {
            let (method, path) = (route.rule.method.as_str().to_ascii_lowercase(), route.rule.path);
            let operation = &document["paths"][path][&method];
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{method} {path}");
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{method} {path}");
            let parameters = operation["parameters"].as_array().unwrap();
            let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path").count();
            assert_eq!(in_path, path.matches('{').count(), "{method} {path}");
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document(&crate::platform::routes());
        let mut references = Vec::new();
        collect(&document, &mut references);
        assert!(references.len() > 100);
        for reference in references {
            let at = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(at).is_some(), "{reference}");
        }
    }

    fn collect<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
        match value {
            Value::Object(object) => {
                into.extend(object.get("$ref").and_then(Value::as_str));
                object.values().for_each(|value| collect(value, into));
            }
            Value::Array(array) => array.iter().for_each(|value| collect(value, into)),
            _ => {}
        }
    }
}
