//! Heroku's add-ons. There are none here, and the CLI asks after them all the time: lists are empty, and
//! whoever wants one is told how to go without.

use axum::Json;
use axum::http::StatusCode;
use serde_json::Value;

use super::Who;
use super::route::{OPERATE, Realm, Route, VIEW, delete, get, patch, post};
use crate::errors::ApiFault;

pub(super) fn routes() -> Vec<Route> {
    [lists(), refusals(), not_there()].into_iter().flatten().collect()
}

fn lists() -> Vec<Route> {
    let empty = |path, who| get(path, who, none).says("Add-ons: none").gives::<Vec<Value>>();
    vec![
        empty("/addons", Who::User),
        empty("/addon-attachments", Who::User),
        empty("/addon-services", Who::User).about(Realm::Identity),
        empty("/apps/{app}/addons", VIEW),
        empty("/apps/{app}/addon-attachments", VIEW),
    ]
}

fn refusals() -> Vec<Route> {
    vec![
        post("/apps/{app}/addons", OPERATE, refuse).says("Add an add-on: refused").refuses(),
        post("/addon-attachments", Who::User, refuse).says("Attach an add-on: refused").refuses(),
    ]
}

fn not_there() -> Vec<Route> {
    vec![
        post("/actions/addons/resolve", Who::User, no_addon).says("Find an add-on: there is none").refuses(),
        post("/actions/addon-attachments/resolve", Who::User, no_attachment)
            .says("Find an attachment: there is none")
            .refuses(),
        get("/addons/{addon}", Who::User, no_addon).says("An add-on: there is none").refuses(),
        get("/addons/{addon}/addon-attachments", Who::User, no_addon)
            .says("An add-on: there is none")
            .refuses(),
        get("/addon-attachments/{attachment}", Who::User, no_attachment)
            .says("An attachment: there is none")
            .refuses(),
        delete("/addon-attachments/{attachment}", Who::User, no_attachment)
            .says("An attachment: there is none")
            .refuses(),
        get("/addon-services/{service}", Who::User, no_service)
            .says("An add-on service: there is none")
            .refuses(),
        get("/addon-services/{service}/plans", Who::User, no_service)
            .says("An add-on service: there is none")
            .refuses(),
        get("/apps/{app}/addons/{addon}", VIEW, no_addon).says("An add-on: there is none").refuses(),
        patch("/apps/{app}/addons/{addon}", OPERATE, no_addon).says("An add-on: there is none").refuses(),
        delete("/apps/{app}/addons/{addon}", OPERATE, no_addon).says("An add-on: there is none").refuses(),
    ]
}

async fn none() -> Json<Vec<Value>> {
    Json(Vec::new())
}

async fn refuse() -> ApiFault {
    ApiFault::particular(
        StatusCode::UNPROCESSABLE_ENTITY,
        "no_addons",
        "Add-ons are not offered by this server: run the service yourself, and tell the app where it is, \
         as in `config:set DATABASE_URL=postgres://USER:PASSWORD@HOST/NAME`.",
    )
}

async fn no_addon() -> ApiFault {
    ApiFault::missing("add_on", "Couldn't find that add-on: this server offers none.")
}

async fn no_attachment() -> ApiFault {
    ApiFault::missing("attachment", "Couldn't find that add-on attachment: this server offers no add-ons.")
}

async fn no_service() -> ApiFault {
    ApiFault::missing("add_on_service", "Couldn't find that add-on service: this server offers none.")
}
