//! The buildpacks of an app, and the registry of those that have names.
//!
//! Kept is what builds understand (`buildpack/reference.rs` of ruko-slug): the short name of a buildpack that
//! ships with openruko, or a URL.

use axum::Json;
use axum::extract::State;
use ruko_api_types::platform::{
    BuildpackInstallation, BuildpackUpdate, BuildpackUpdates, InstalledBuildpack, RegistryBuildpack,
};

use super::caller::TheApp;
use super::route::{DEPLOY, Route, VIEW, get, put};
use super::{Who, apps, ids};
use crate::api::Api;
use crate::errors::{Answer, ApiFault};
use crate::extract::{Asked, At, Body};
use crate::judge;
use crate::store::buildpacks;

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/apps/{app}/buildpack-installations", VIEW, list)
            .says("What an app is built with")
            .gives::<Vec<BuildpackInstallation>>(),
        put("/apps/{app}/buildpack-installations", DEPLOY, replace)
            .says("Set what an app is built with")
            .takes::<BuildpackUpdates>()
            .gives::<Vec<BuildpackInstallation>>(),
        get("/buildpacks", Who::Anyone, search)
            .says("Buildpacks that have names")
            .asks("in[namespace]", "Only those of this namespace.")
            .asks("in[name]", "Only those of this name, without the namespace.")
            .asks("like[description]", "Only those whose description has this in it.")
            .gives::<Vec<RegistryBuildpack>>(),
        get("/buildpacks/{buildpack}", Who::Anyone, look_up)
            .says("A buildpack by its name")
            .gives::<RegistryBuildpack>(),
    ]
}

/// A buildpack that has a name.
struct Known {
    /// `heroku/python`
    name: &'static str,
    description: &'static str,
    home: Home,
}

enum Home {
    /// It ships with openruko, under this name: the directory `buildpacks/`.
    Shipped(&'static str),
    /// A git repository.
    Git(&'static str),
}

macro_rules! of_heroku {
    ($name:literal, $description:literal) => {
        Known {
            name: concat!("heroku/", $name),
            description: $description,
            home: Home::Git(concat!("https://github.com/heroku/heroku-buildpack-", $name)),
        }
    };
}

/// What ships with openruko, and Heroku's own: <https://devcenter.heroku.com/articles/officially-supported-buildpacks>.
const KNOWN: &[Known] = &[
    Known { name: "heroku/nodejs", description: "Node.js apps", home: Home::Shipped("nodejs") },
    Known { name: "heroku/python", description: "Python apps", home: Home::Shipped("python") },
    Known { name: "heroku/ruby", description: "Ruby apps", home: Home::Shipped("ruby") },
    Known { name: "heroku/java", description: "Java apps that Maven builds", home: Home::Shipped("java") },
    Known { name: "heroku/php", description: "PHP apps", home: Home::Shipped("php") },
    Known { name: "heroku/go", description: "Go apps", home: Home::Shipped("go") },
    Known { name: "openruko/rust", description: "Rust apps", home: Home::Shipped("rust") },
    Known { name: "openruko/static", description: "Web sites of files alone", home: Home::Shipped("static") },
    Known {
        name: "openruko/procfile",
        description: "Whatever a Procfile starts, without a build",
        home: Home::Shipped("procfile"),
    },
    of_heroku!("gradle", "JVM apps that Gradle builds"),
    of_heroku!("scala", "Scala apps"),
    of_heroku!("clojure", "Clojure apps"),
];

impl Known {
    /// By what people and the CLI write: `heroku/python`, `urn:buildpack:heroku/python`, `python`.
    fn called(raw: &str) -> Option<&'static Self> {
        let name = raw.strip_prefix("urn:buildpack:").unwrap_or(raw);
        let named = |known: &&Self| known.name == name || known.short() == name;
        KNOWN.iter().find(named)
    }

    fn short(&self) -> &'static str {
        self.name.split_once('/').map_or(self.name, |(_, short)| short)
    }

    /// As it is kept.
    fn kept(&self) -> &'static str {
        match self.home {
            Home::Shipped(name) => name,
            Home::Git(url) => url,
        }
    }

    /// What the CLI names it by.
    fn url(&self) -> String {
        match self.home {
            Home::Shipped(_) => urn(self.name),
            Home::Git(url) => url.to_owned(),
        }
    }
}

fn urn(name: &str) -> String {
    format!("urn:buildpack:{name}")
}

async fn list(State(api): State<Api>, TheApp(app): TheApp) -> Answer<Json<Vec<BuildpackInstallation>>> {
    let mut db = api.store.read().await?;
    Ok(Json(described(&buildpacks::of_app(&mut db, &app.id).await?)))
}

async fn replace(
    State(api): State<Api>,
    TheApp(app): TheApp,
    Body(wanted): Body<BuildpackUpdates>,
) -> Answer<Json<Vec<BuildpackInstallation>>> {
    let wanted: Vec<String> = wanted.updates.into_iter().map(reference).collect::<Answer<_>>()?;
    judge::buildpacks(&wanted)?;
    if let Some(twice) = wanted.iter().enumerate().find(|(at, one)| wanted[..*at].contains(one)) {
        return Err(ApiFault::invalid(format!("The buildpack {} is named twice.", shown(twice.1).name)));
    }
    let mut db = api.store.write().await?;
    let app = apps::still_there(&mut db, &app).await?;
    buildpacks::replace(&mut db, &app.id, &wanted).await?;
    db.commit().await?;
    Ok(Json(described(&wanted)))
}

/// What is kept for what a client sent.
fn reference(update: BuildpackUpdate) -> Answer<String> {
    let raw = update.buildpack.ok_or_else(|| {
        ApiFault::invalid(format!("One of the buildpacks is not known here. {}", what_is_known()))
    })?;
    let raw = raw.trim();
    match raw.split_once("://") {
        Some(("https" | "http" | "git" | "ssh", _)) => Ok(raw.to_owned()),
        Some(_) => Err(ApiFault::invalid(
            "A buildpack's URL must begin with https://, http://, git:// or ssh://, such as \
             https://github.com/heroku/heroku-buildpack-ruby#main",
        )),
        None => Known::called(raw).map(|known| known.kept().to_owned()).ok_or_else(|| {
            let raw: String = raw.chars().take(60).collect();
            ApiFault::invalid(format!(
                "There is no buildpack `{}` here. {}",
                raw.escape_debug(),
                what_is_known()
            ))
        }),
    }
}

fn what_is_known() -> String {
    let names: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
    format!("Known are {}; any other one is named by its git URL.", names.join(", "))
}

fn described(kept: &[String]) -> Vec<BuildpackInstallation> {
    let installed =
        |(ordinal, kept): (u32, &String)| BuildpackInstallation { ordinal, buildpack: shown(kept) };
    (0..).zip(kept).map(installed).collect()
}

/// A name of a buildpack that an admin put beside ours is shown as one of this server's.
fn shown(kept: &str) -> InstalledBuildpack {
    if kept.contains("://") {
        return InstalledBuildpack { url: kept.to_owned(), name: kept.to_owned() };
    }
    let name = match Known::called(kept) {
        Some(known) => known.name.to_owned(),
        None if kept.contains('/') => kept.trim_start_matches("urn:buildpack:").to_owned(),
        None => format!("openruko/{kept}"),
    };
    InstalledBuildpack { url: urn(&name), name }
}

/// `in[namespace]`, `in[name]` and `like[description]`, as the CLI sends them.
async fn search(Asked(asked): Asked<Vec<(String, String)>>) -> Json<Vec<RegistryBuildpack>> {
    let fits = |known: &&Known| asked.iter().all(|(key, value)| is_meant(known, key, value));
    Json(KNOWN.iter().filter(fits).map(registered).collect())
}

fn is_meant(known: &Known, key: &str, value: &str) -> bool {
    if key.starts_with("in[namespace]") {
        known.name.split('/').next() == Some(value)
    } else if key.starts_with("in[name]") {
        known.short() == value
    } else if key.starts_with("like[description]") {
        known.description.to_lowercase().contains(&value.to_lowercase())
    } else {
        true
    }
}

async fn look_up(At(called): At<String>) -> Answer<Json<RegistryBuildpack>> {
    let known = Known::called(&called);
    let known = known.ok_or_else(|| {
        ApiFault::missing("buildpack", format!("Couldn't find that buildpack. {}", what_is_known()))
    })?;
    Ok(Json(registered(known)))
}

fn registered(known: &Known) -> RegistryBuildpack {
    RegistryBuildpack {
        id: ids::of_name("buildpack", known.name),
        name: known.name.to_owned(),
        description: known.description.to_owned(),
        category: "languages".to_owned(),
        blob_url: known.url(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ships_is_what_lies_in_the_directory() {
        let order = include_str!("../../../../buildpacks/ORDER");
        let mut there: Vec<&str> =
            order.lines().filter(|line| !line.starts_with(['#', '*']) && !line.is_empty()).collect();
        let mut known: Vec<&str> = KNOWN
            .iter()
            .filter_map(|known| match known.home {
                Home::Shipped(name) => Some(name),
                Home::Git(_) => None,
            })
            .collect();
        there.sort_unstable();
        known.sort_unstable();
        assert_eq!(known, there);
    }

    #[test]
    fn what_is_shown_can_be_sent_back() {
        for known in KNOWN {
            for sent in [known.name, known.short(), &urn(known.name), &known.url()] {
                let kept = reference(BuildpackUpdate { buildpack: Some(sent.to_owned()) }).unwrap();
                assert_eq!(kept, known.kept(), "{sent}");
                let back = shown(&kept).url;
                let again = reference(BuildpackUpdate { buildpack: Some(back) }).unwrap();
                assert_eq!(again, kept);
            }
        }
    }
}
