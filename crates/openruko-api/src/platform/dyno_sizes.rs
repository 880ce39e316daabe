//! The sizes that dynos can have.

use axum::Json;
use axum::extract::State;
use ruko_api_types::platform::{DynoSize as Shown, Named};

use super::route::{Realm, Route, get};
use super::{Who, ids};
use crate::api::Api;
use crate::dyno_size::{DynoSize, Sizes};
use crate::errors::{Answer, ApiFault};
use crate::extract::At;

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/dyno-sizes", Who::User, list)
            .about(Realm::Identity)
            .says("The sizes of dynos")
            .gives::<Vec<Shown>>(),
        get("/dyno-sizes/{size}", Who::User, show)
            .about(Realm::Identity)
            .says("A size of dynos")
            .gives::<Shown>(),
    ]
}

async fn list(State(api): State<Api>) -> Json<Vec<Shown>> {
    Json(all(&api.settings.sizes).collect())
}

async fn show(State(api): State<Api>, At(called): At<String>) -> Answer<Json<Shown>> {
    let found =
        all(&api.settings.sizes).find(|size| size.name.eq_ignore_ascii_case(&called) || size.id == called);
    found.map(Json).ok_or_else(|| ApiFault::missing("dyno_size", "Couldn't find that dyno size."))
}

fn all(sizes: &Sizes) -> impl Iterator<Item = Shown> {
    (1..).zip(DynoSize::ALL).map(|(precedence, size)| described(sizes, size, precedence))
}

fn described(sizes: &Sizes, size: DynoSize, precedence: u32) -> Shown {
    let generation = "cedar";
    Shown {
        id: ids::of_name("dyno-size", size.as_str()),
        name: size.to_string(),
        memory: gib(sizes.memory_bytes(size)),
        compute: size.shares(),
        dyno_units: size.shares(),
        precedence: Some(precedence),
        cost: None,
        dedicated: false,
        private_space_only: false,
        generation: Some(Named { id: ids::of_name("generation", generation), name: generation.to_owned() }),
    }
}

/// To the nearest MiB.
fn gib(bytes: u64) -> f64 {
    u32::try_from(bytes >> 20).map_or(f64::from(u32::MAX), f64::from) / 1024.0
}
