//! Releases, the slugs that they run, and the way back to earlier ones.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use ruko_api_types::host::ReleaseStatus as Status;
use ruko_api_types::platform::{Identified, Named, NewRelease, Release, ReleaseStatus, Slug, UserRef};
use serde::Deserialize;
use sqlx::AnyConnection;

use super::caller::{Caller, TheApp};
use super::page::{Page, Paged};
use super::route::{DEPLOY, Route, VIEW, get, post};
use super::{Who, apps, ids};
use crate::api::Api;
use crate::clock;
use crate::controllers::{created, release_output};
use crate::errors::{Answer, ApiFault};
use crate::extract::{Asked, At, Body};
use crate::judge;
use crate::release::{self, Runs};
use crate::store::apps::AppRow;
use crate::store::releases::{self, CONFIG_VARS_KEPT, Piece, ProcessTypes, ReleaseRow, SlugOfRelease};
use crate::token::Token;

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/apps/{app}/releases", VIEW, list).says("Releases, by version").pages::<Release>(),
        post("/apps/{app}/releases", DEPLOY, create)
            .says("Roll back to a release, or release a slug again")
            .takes::<NewRelease>()
            .creates::<Release>(),
        get("/apps/{app}/releases/{release}", VIEW, show).says("A release").gives::<Release>(),
        get("/releases/{release}/output", Who::Anyone, follow)
            .says("What a release phase prints, followed until its end")
            .opens_with("secret", "As in the release's `output_stream_url`.")
            .streams("text/plain"),
        get("/apps/{app}/slugs/{slug}", VIEW, slug).says("A slug").gives::<Slug>(),
    ]
}

async fn list(State(api): State<Api>, TheApp(app): TheApp, page: Page) -> Answer<Paged<Release>> {
    let mut db = api.store.read().await?;
    let piece = Piece { after: page.after_version(), descending: page.descending, limit: page.limit() };
    let rows = releases::piece(&mut db, &app.id, &piece).await?;
    let all: Answer<Vec<Release>> = rows.iter().map(|row| described(&api, &app, row)).collect();
    Ok(page.cut(all?, |release: &Release| release.version.to_string()))
}

async fn show(
    State(api): State<Api>,
    TheApp(app): TheApp,
    At((_, called)): At<(String, String)>,
) -> Answer<Json<Release>> {
    let mut db = api.store.read().await?;
    let release = release_called(&mut db, &app, &called).await?;
    Ok(Json(described(&api, &app, &release)?))
}

async fn create(
    State(api): State<Api>,
    caller: Caller,
    app: TheApp,
    Body(wanted): Body<NewRelease>,
) -> Answer<Response> {
    if let Some(description) = &wanted.description {
        judge::description(description)?;
    }
    let mut db = api.store.write().await?;
    let app = super::apps::still_there(&mut db, &app.0).await?;
    let version = match (&wanted.release, &wanted.slug) {
        (Some(earlier), None) => roll_back(&mut db, &api, &caller, &app, earlier).await?,
        (None, Some(slug)) => release_again(&mut db, &api, &caller, &app, slug, wanted.description).await?,
        _ => {
            let message = "Name either the release to go back to, as `release`, or a slug, as `slug`.";
            return Err(ApiFault::invalid(message));
        }
    };
    let release = releases::find(&mut db, &app.id, version).await?.ok_or_else(no_such_release)?;
    let app = super::apps::still_there(&mut db, &app).await?;
    db.commit().await?;
    Ok(created(described(&api, &app, &release)?))
}

async fn roll_back(
    db: &mut AnyConnection,
    api: &Api,
    caller: &Caller,
    app: &AppRow,
    earlier: &str,
) -> Answer<u64> {
    let earlier = release_called(db, app, earlier).await?;
    let version = earlier.version;
    let Some(slug) = &earlier.slug else {
        let message = format!("`{}` cannot go back to v{version}: nothing was deployed then.", app.name);
        return Err(ApiFault::invalid(message));
    };
    if earlier.status != Status::Succeeded {
        let status = releases::status_word(earlier.status);
        let message = format!("`{}` cannot go back to v{version}: it is {status}.", app.name);
        return Err(ApiFault::invalid(message));
    }
    if slug.is_gone {
        return Err(gone(api, app, &format!("go back to v{version}")));
    }
    let vars = releases::config_vars(db, &app.id, version).await?.ok_or_else(|| {
        let message = format!(
            "`{}` cannot go back to v{version}: {}. Set them by hand, and push the code again.",
            app.name,
            no_config_vars()
        );
        ApiFault::particular(StatusCode::UNPROCESSABLE_ENTITY, "config_vars_removed", message)
    })?;
    let user = &caller.user.name;
    Ok(release::back_to(db, &api.settings, &app.id, (&slug.id, version), &vars, user).await?)
}

/// Why the config vars of a release are not there.
pub(super) fn no_config_vars() -> String {
    format!(
        "its config vars were removed, since only those of the last {CONFIG_VARS_KEPT} releases that served are kept"
    )
}

/// Old slugs are not kept for ever.
fn gone(api: &Api, app: &AppRow, deed: &str) -> ApiFault {
    let kept = api.settings.retention.releases;
    let message = format!(
        "`{}` cannot {deed}: its slug was removed, since only those of the last {kept} deploys are kept. \
         Push the code again.",
        app.name
    );
    ApiFault::particular(StatusCode::UNPROCESSABLE_ENTITY, "slug_removed", message)
}

/// What the latest release with the slug ran, with the config vars as they are.
async fn release_again(
    db: &mut AnyConnection,
    api: &Api,
    caller: &Caller,
    app: &AppRow,
    called: &str,
    description: Option<String>,
) -> Answer<u64> {
    let (release, slug) = slug_called(db, app, called).await?;
    if slug.is_gone {
        return Err(gone(api, app, "release that slug again"));
    }
    let description = description.unwrap_or_else(|| match &slug.commit {
        Some(commit) => format!("Deploy {}", commit.as_str().chars().take(8).collect::<String>()),
        None => format!("Deploy the slug of v{}", release.version),
    });
    let runs = Runs::Same { slug: Some(&slug.id), app_id: &app.id, version: release.version };
    Ok(release::make(db, &api.settings, &app.id, &caller.user.name, &description, runs).await?)
}

async fn slug(
    State(api): State<Api>,
    TheApp(app): TheApp,
    At((_, called)): At<(String, String)>,
) -> Answer<Json<Slug>> {
    let mut db = api.store.read().await?;
    let (release, slug) = slug_called(&mut db, &app, &called).await?;
    let types = releases::process_types(&mut db, &app.id, release.version).await?;
    Ok(Json(described_slug(slug, types)))
}

/// By version, with or without its `v`, or by id.
pub(super) async fn release_called(db: &mut AnyConnection, app: &AppRow, called: &str) -> Answer<ReleaseRow> {
    let version = called.strip_prefix('v').unwrap_or(called).parse::<u32>();
    let found = match (version, ids::internal(called)) {
        (Ok(version), _) => releases::find(db, &app.id, version.into()).await?,
        (_, Some(id)) => releases::find_by_id(db, &app.id, &id).await?,
        _ => None,
    };
    found.ok_or_else(no_such_release)
}

fn no_such_release() -> ApiFault {
    ApiFault::missing("release", "Couldn't find that release.")
}

/// The slug and the latest release that runs it. A slug that was never released in this app is not there.
async fn slug_called(
    db: &mut AnyConnection,
    app: &AppRow,
    called: &str,
) -> Answer<(ReleaseRow, SlugOfRelease)> {
    let found = match ids::internal(called) {
        Some(id) => releases::latest_of_slug(db, &app.id, &id).await?,
        None => None,
    };
    let both = found.and_then(|mut release| release.slug.take().map(|slug| (release, slug)));
    both.ok_or_else(|| ApiFault::missing("slug", "Couldn't find that slug."))
}

fn status(status: Status) -> ReleaseStatus {
    match status {
        Status::Pending => ReleaseStatus::Pending,
        Status::Succeeded => ReleaseStatus::Succeeded,
        Status::Failed => ReleaseStatus::Failed,
        Status::Expired => ReleaseStatus::Expired,
    }
}

/// As clients see it.
pub(super) fn described(api: &Api, app: &AppRow, release: &ReleaseRow) -> Answer<Release> {
    let status = status(release.status);
    // Of whoever is gone only the name is known.
    let user_id = release.user_id.as_deref().map(ids::public);
    let user_id = user_id.unwrap_or_else(|| ids::of_name("user", release.user.as_str()));
    Ok(Release {
        id: ids::public(&release.id),
        version: release.version,
        current: release.version == app.serving,
        status,
        description: release.description.clone(),
        user: UserRef { id: user_id, email: release.user_address().to_owned() },
        app: apps::named(app),
        slug: release.slug.as_ref().map(|slug| Identified { id: ids::public(&slug.id) }),
        oci_image: None,
        // The current one as well: the CLI looks for the one before it by counting those that are.
        eligible_for_rollback: release.slug.as_ref().is_some_and(|slug| !slug.is_gone)
            && release.has_config_vars
            && status == ReleaseStatus::Succeeded,
        output_stream_url: output_url(api, release)?,
        addon_plan_names: Vec::new(),
        artifacts: Vec::new(),
        created_at: clock::rfc3339(release.created_at),
        updated_at: clock::rfc3339(release.updated_at),
    })
}

/// Where what its release phase prints can be read; none where it has none.
fn output_url(api: &Api, release: &ReleaseRow) -> Answer<Option<String>> {
    let public = super::server::public(api)?;
    let id = ids::public(&release.id);
    let url = || format!("{}/releases/{id}/output?secret={}", public.url, secret(api, &release.id));
    Ok(release.has_phase.then(url))
}

/// As that of a build's output: an id has one length, and is another one than any build's.
fn secret(api: &Api, id: &str) -> String {
    Token::presented(&format!("{}/release/{id}", api.output_key.reveal())).digest()
}

/// The secret in the URL of what a release phase prints.
#[derive(Deserialize)]
struct Secret {
    secret: Option<String>,
}

async fn follow(
    State(api): State<Api>,
    At(called): At<String>,
    Asked(Secret { secret: given }): Asked<Secret>,
) -> Answer<Response> {
    let id = ids::internal(&called).ok_or_else(no_such_release)?;
    let expected = Token::presented(&secret(&api, &id)).digest();
    if !given.is_some_and(|given| Token::presented(&given).has_digest(&expected)) {
        return Err(no_such_release());
    }
    let mut db = api.store.read().await?;
    let (app_id, release) = releases::of_id(&mut db, &id).await?.ok_or_else(no_such_release)?;
    drop(db);
    let place = api.output_readers.take(&release.user).map_err(ApiFault::full)?;
    Ok(release_output::read(api, app_id, release.version, place))
}

fn described_slug(slug: SlugOfRelease, types: ProcessTypes) -> Slug {
    let made = clock::rfc3339(slug.created_at);
    let stack = slug.stack.to_string();
    Slug {
        id: ids::public(&slug.id),
        buildpack_provided_description: Some(slug.buildpack),
        checksum: Some(format!("SHA256:{}", slug.stored.sha256)),
        commit: slug.commit.map(String::from),
        commit_description: None,
        process_types: types.into_iter().map(|(name, command)| (name.into(), command)).collect(),
        size: Some(slug.stored.bytes),
        stack: Named { id: ids::of_name("stack", &stack), name: stack },
        created_at: made.clone(),
        updated_at: made,
    }
}
