//! The OpenAPI document, put together from the table of calls: what is not in it cannot be called.

use std::sync::Arc;

use axum::Json;
use axum::routing::{MethodRouter, get};
use ruko_api_types::ApiError;
use schemars::generate::{Contract, SchemaSettings};
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::Who;
use super::route::{Describe, Route};
use crate::api::Api;

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
            "version": "3",
            "description": "The API that the Heroku CLI and openruko speak.",
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
        "parameters": parameters(route.rule.path),
        "responses": {
            docs.status.as_str(): success(route, given),
            "default": { "$ref": "#/components/responses/Error" },
        },
    });
    if let Some(describe) = docs.takes {
        let mut schema = schema(describe, taken);
        rename_references(&mut schema);
        let content = json!({ "application/json": { "schema": schema } });
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    if route.rule.who == Who::Anyone {
        operation["security"] = json!([]);
    }
    operation
}

fn schema(describe: Describe, generator: &mut SchemaGenerator) -> Value {
    let schema: Schema = describe(generator);
    schema.to_value()
}

fn success(route: &Route, given: &mut SchemaGenerator) -> Value {
    let docs = &route.docs;
    let mut response = json!({ "description": docs.summary });
    if let Some(describe) = docs.gives {
        response["content"] = json!({ "application/json": { "schema": schema(describe, given) } });
    } else if let Some(media_type) = docs.media_type {
        response["content"] = json!({ media_type: {} });
    }
    response
}

/// `GET /apps/{app}/config-vars` is `get_apps_app_config-vars`.
fn operation_id(route: &Route) -> String {
    let method = route.rule.method.as_str().to_ascii_lowercase();
    format!("{method}{}", route.rule.path.replace('/', "_").replace(['{', '}'], ""))
}

fn parameters(path: &str) -> Value {
    let named = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let parameter = |name: &str| {
        json!({
            "name": name.trim_start_matches('*'),
            "in": "path",
            "required": true,
            "schema": { "type": "string", "minLength": 1 },
        })
    };
    Value::Array(named.map(parameter).collect())
}
