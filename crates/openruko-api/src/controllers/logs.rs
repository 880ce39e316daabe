//! Lines for the logs of apps, from the host and the router.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use ruko_api_types::log::{LogLines, MAX_LINES};
use ruko_core::AppName;
use serde::Deserialize;
use ulid::Ulid;

use super::app_named;
use crate::api::Api;
use crate::clock;
use crate::errors::{Answer, ApiFault};
use crate::extract::{Asked, At};
use crate::judge::shown;
use crate::log::line::{self, Said};
use crate::log::{self, AppLog, Wanted};
use crate::store::apps;

/// The most lines of a log that are asked for at a time: what Heroku keeps.
pub(crate) const MAX_READ: u32 = 1500;

/// The query.
#[derive(Deserialize)]
pub(crate) struct Question {
    lines: u32,
    dyno: Option<String>,
    source: Option<String>,
}

/// `GET /internal/apps/{app}/log?lines=&dyno=&source=`
pub(crate) async fn list(
    State(api): State<Api>,
    At(app): At<AppName>,
    Asked(asked): Asked<Question>,
) -> Answer<Json<Vec<String>>> {
    let app = app_named(&mut *api.store.read().await?, &app).await?;
    let wanted = Wanted { dyno: asked.dyno, source: asked.source };
    let count = asked.lines.min(MAX_READ) as usize;
    let (_, entries) = log::latest(&api, &api.logs.of(&app.id), &app.id, &wanted, count).await?;
    let lines = entries.iter().flat_map(|entry| &entry.lines);
    Ok(Json(lines.map(|line| line.shown().to_owned()).collect()))
}

/// `POST /internal/logs`
///
/// What is refused will be refused again: whoever sent it has to drop it. So nothing is refused for what an app said, a
/// line of no process is dropped alone, and NUL, which other calls refuse, may be in it: lines are not for the database.
pub(crate) async fn take(State(api): State<Api>, body: Bytes) -> Answer<StatusCode> {
    let lines: LogLines = serde_json::from_slice(&body).map_err(|e| ApiFault::invalid(e.to_string()))?;
    judge(&lines)?;
    let LogLines { sender, batch, lines } = lines;
    let now = clock::now_micros();
    let mut of_apps: Vec<(Arc<AppLog>, Vec<Said>)> = Vec::new();
    let mut places: HashMap<String, Option<usize>> = HashMap::new();
    for said in lines {
        if !line::is_process(&said.process) {
            tracing::warn!(
                app = shown(&said.app),
                "a line of `{}`, no process, is dropped",
                shown(&said.process)
            );
            continue;
        }
        let place = match places.get(&said.app) {
            Some(place) => *place,
            None => {
                let log = log_of(&api, &said.app).await?;
                let place = log.map(|log| {
                    of_apps.push((log, Vec::new()));
                    of_apps.len() - 1
                });
                places.insert(said.app.clone(), place);
                place
            }
        };
        if let Some(place) = place {
            of_apps[place].1.extend(Said::all(
                line::time(said.at, now),
                said.source,
                &said.process,
                &said.text,
            ));
        }
    }
    api.logs.take(sender, batch, of_apps).await;
    Ok(StatusCode::NO_CONTENT)
}

fn judge(lines: &LogLines) -> Answer<()> {
    if Ulid::from_string(&lines.sender).is_err() {
        return Err(ApiFault::invalid(format!("The sender `{}` is no ULID.", shown(&lines.sender))));
    }
    if lines.lines.len() > MAX_LINES {
        let message = format!("A batch has at most {MAX_LINES} lines, not {}.", lines.lines.len());
        return Err(ApiFault::invalid(message));
    }
    Ok(())
}

/// None: there is no such app.
async fn log_of(api: &Api, app_id: &str) -> Answer<Option<Arc<AppLog>>> {
    if Ulid::from_string(app_id).is_err() {
        return Ok(None);
    }
    if let Some(log) = api.logs.known(app_id) {
        return Ok(Some(log));
    }
    let mut db = api.store.read().await?;
    if !apps::exists(&mut db, app_id).await? {
        return Ok(None);
    }
    let log = api.logs.of(app_id);
    log.is_there();
    Ok(Some(log))
}
