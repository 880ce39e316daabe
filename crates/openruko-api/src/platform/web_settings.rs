//! How web dynos prove themselves, when they sleep, and whether plain HTTP is answered.

use axum::Json;
use axum::extract::State;
use ruko_api_types::host::WebSettings;
use ruko_api_types::platform::WebSettingsChanges;

use super::apps;
use super::caller::{Caller, TheApp};
use super::route::{OPERATE, Route, VIEW, get, patch};
use crate::api::Api;
use crate::errors::{Answer, ApiFault};
use crate::extract::Body;
use crate::store::web;

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/apps/{app}/web-settings", VIEW, show)
            .says("How web dynos prove themselves, and when they sleep")
            .gives::<WebSettings>(),
        patch("/apps/{app}/web-settings", OPERATE, change)
            .says("Set how web dynos prove themselves, and when they sleep; null for not at all")
            .takes::<WebSettingsChanges>()
            .gives::<WebSettings>(),
    ]
}

/// The longest path that web dynos are asked for, in bytes.
const MAX_PATH: usize = 2000;

/// From twice the time in which the router tells of requests to thirty days, in seconds.
const IDLE_AFTER: std::ops::RangeInclusive<u64> = 20..=30 * 24 * 3600;

async fn show(State(api): State<Api>, TheApp(app): TheApp) -> Answer<Json<WebSettings>> {
    let mut db = api.store.read().await?;
    Ok(Json(web::of_app(&mut db, &app.id).await?))
}

async fn change(
    State(api): State<Api>,
    caller: Caller,
    TheApp(app): TheApp,
    Body(wanted): Body<WebSettingsChanges>,
) -> Answer<Json<WebSettings>> {
    let mut db = api.store.write().await?;
    let app = apps::still_there(&mut db, &app).await?;
    let settings = changed(web::of_app(&mut db, &app.id).await?, wanted)?;
    web::set(&mut db, &app.id, &settings).await?;
    db.commit().await?;
    api.say(&app.id, &format!("{} by user {}", told(&settings), caller.user.name)).await;
    Ok(Json(settings))
}

fn told(settings: &WebSettings) -> String {
    let WebSettings { check_path, idle_after_seconds, force_https } = settings;
    let checked = check_path.as_ref().map_or("not checked".to_owned(), |path| format!("checked at {path}"));
    let sleep = idle_after_seconds.map_or("never asleep".to_owned(), |s| format!("asleep after {s} s"));
    let http = if *force_https { "HTTPS only" } else { "HTTP and HTTPS" };
    format!("Web dynos set to {checked}, {sleep}, {http}")
}

fn changed(mut settings: WebSettings, wanted: WebSettingsChanges) -> Answer<WebSettings> {
    if let Some(path) = wanted.check_path {
        settings.check_path = path.map(checked).transpose()?;
    }
    if let Some(seconds) = wanted.idle_after_seconds {
        settings.idle_after_seconds = seconds.map(bounded).transpose()?;
    }
    settings.force_https = wanted.force_https.unwrap_or(settings.force_https);
    Ok(settings)
}

/// It stands in the first line of a request.
fn checked(path: String) -> Answer<String> {
    let plain = path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    if !plain || path.len() > MAX_PATH {
        return Err(ApiFault::invalid(format!(
            "The path to check must begin with `/` and have at most {MAX_PATH} visible ASCII characters, no `#`."
        )));
    }
    Ok(path)
}

fn bounded(seconds: u64) -> Answer<u64> {
    if !IDLE_AFTER.contains(&seconds) {
        let (least, most) = (IDLE_AFTER.start(), IDLE_AFTER.end());
        return Err(ApiFault::invalid(format!(
            "Web dynos can sleep after {least} to {most} seconds without a request, not after {seconds}."
        )));
    }
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_to_check_can_stand_in_a_request() {
        for good in ["/", "/health?deep=1", "/a/b%20c"] {
            assert!(checked(good.to_owned()).is_ok(), "{good}");
        }
        for bad in ["", "health", "/a b", "/a\r\nHost: x", "/ü", "/a#b", &format!("/{}", "a".repeat(2000))] {
            assert!(checked(bad.to_owned()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_change_is_told_in_words() {
        assert_eq!(
            told(&WebSettings::default()),
            "Web dynos set to not checked, never asleep, HTTP and HTTPS"
        );
        let settings = WebSettings {
            check_path: Some("/health".to_owned()),
            idle_after_seconds: Some(600),
            force_https: true,
        };
        assert_eq!(told(&settings), "Web dynos set to checked at /health, asleep after 600 s, HTTPS only");
    }

    #[test]
    fn what_is_not_said_stays_and_null_takes_away() {
        let settings = WebSettings {
            check_path: Some("/health".to_owned()),
            idle_after_seconds: Some(600),
            force_https: true,
        };
        let same = changed(settings.clone(), WebSettingsChanges::default()).unwrap();
        assert_eq!(same, settings);
        let wanted = WebSettingsChanges { idle_after_seconds: Some(None), ..WebSettingsChanges::default() };
        assert_eq!(changed(settings, wanted).unwrap().idle_after_seconds, None);
    }
}
