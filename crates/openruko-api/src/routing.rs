//! Where requests to an app go, as the router is told.

use ruko_api_types::AppRef;
use ruko_api_types::platform::DynoState;
use ruko_api_types::router::{Certificate, RoutedApp, RoutedDyno, WebState};
use ruko_core::dyno::DynoName;
use sqlx::AnyConnection;

use crate::certificate;
use crate::formation::{self, WEB};
use crate::hostname::{self, Hostname};
use crate::running;
use crate::settings::Settings;
use crate::store::apps::AppRow;
use crate::store::domains::{self, DomainRow};
use crate::store::dynos::{self, DynoRow};
use crate::store::{Sql, marks, sni_endpoints, web};

/// An app, with everything that the router needs of it.
pub(crate) async fn of_app(db: &mut AnyConnection, settings: &Settings, app: AppRow) -> Sql<RoutedApp> {
    let domains = domains::of_app(db, &app.id).await?;
    let own = hostname::of_url(&settings.web_url(&app.name)).to_ascii_lowercase();
    let hosts = std::iter::once(own).chain(domains.iter().map(|domain| domain.hostname.clone()));
    let reported = dynos::of_app(db, &app.id).await?;
    Ok(RoutedApp {
        hosts: hosts.collect(),
        maintenance: app.maintenance,
        force_https: web::of_app(db, &app.id).await?.force_https,
        web: state(&wanted_web(db, &app).await?, app.asleep, app.serving, &reported),
        // What the host said last holds again when the app wakes: it may hear of neither.
        dynos: if app.asleep { Vec::new() } else { routed(&reported) },
        certificates: certificates(db, &app, &domains).await?,
        revision: app.revision,
        app: AppRef { id: app.id, name: app.name },
    })
}

/// The dynos that get requests.
pub(crate) fn routed(reported: &[DynoRow]) -> Vec<RoutedDyno> {
    let routed = reported.iter().filter(|dyno| dyno.routed);
    routed
        .filter_map(|dyno| {
            let address = dyno.answers_at()?;
            Some(RoutedDyno { id: dyno.id.clone(), name: dyno.name.clone(), address })
        })
        .collect()
}

/// The web dynos that should run of the release that serves.
pub(crate) async fn wanted_web(db: &mut AnyConnection, app: &AppRow) -> Sql<Vec<DynoName>> {
    if app.slug_bytes.is_none() {
        return Ok(Vec::new());
    }
    let marks = marks::of_app(db, &app.id).await?;
    let all = formation::of_release(db, app, app.serving).await?;
    let web = all.iter().filter(|wanted| wanted.process_type.as_str() == WEB);
    Ok(web.flat_map(|wanted| running::names(wanted, app.serving, &marks)).collect())
}

/// What the web dynos do: those that should run, by what was last reported under their names.
pub(crate) fn state(wanted: &[DynoName], asleep: bool, serving: u64, reported: &[DynoRow]) -> WebState {
    let has_crashed = |name: &DynoName| {
        let same = reported.iter().filter(|dyno| dyno.name == *name && dyno.release == serving);
        same.max_by_key(|dyno| &dyno.id).is_some_and(|dyno| dyno.state == DynoState::Crashed)
    };
    match wanted {
        [] => WebState::None,
        _ if asleep => WebState::Asleep,
        wanted if wanted.iter().all(has_crashed) => WebState::Crashed,
        _ => WebState::Running,
    }
}

/// Each certificate with the domains that were given it, and with those without one that it covers. One that is for
/// none of them is left out.
async fn certificates(db: &mut AnyConnection, app: &AppRow, domains: &[DomainRow]) -> Sql<Vec<Certificate>> {
    let mut certificates = Vec::new();
    for pair in sni_endpoints::pairs_of_app(db, &app.id).await? {
        let names = certificate::described(&pair.certificate_chain).domains;
        let is_for = |domain: &&DomainRow| match &domain.sni_endpoint {
            Some((id, _)) => *id == pair.id,
            None => covers(&names, &domain.hostname),
        };
        let hosts: Vec<String> =
            domains.iter().filter(is_for).map(|domain| domain.hostname.clone()).collect();
        if !hosts.is_empty() {
            certificates.push(Certificate { hosts, chain: pair.certificate_chain, key: pair.private_key });
        }
    }
    Ok(certificates)
}

fn covers(names: &[String], hostname: &str) -> bool {
    let names = names.iter().filter_map(|name| name.parse::<Hostname>().ok());
    names.into_iter().any(|name| name.covers(hostname))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dyno(id: &str, name: &str, release: u64, state: DynoState) -> DynoRow {
        DynoRow {
            id: id.to_owned(),
            app_id: String::new(),
            name: name.parse().unwrap(),
            release,
            state,
            since: 0,
            address: Some("10.0.0.2:5000".parse().unwrap()),
            command: String::new(),
            size: String::new(),
            routed: true,
            created_at: 0,
        }
    }

    fn names(names: &[&str]) -> Vec<DynoName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn an_app_has_crashed_when_the_newest_of_each_of_its_web_dynos_has() {
        use DynoState::{Crashed, Starting, Up};
        let both = names(&["web.1", "web.2"]);
        let of = |reported: &[DynoRow]| state(&both, false, 7, reported);
        let first = dyno("a", "web.1", 7, Crashed);
        assert_eq!(of(&[]), WebState::Running, "they will be there in a moment");
        assert_eq!(of(std::slice::from_ref(&first)), WebState::Running);
        let second = dyno("b", "web.2", 7, Crashed);
        assert_eq!(of(&[first.clone(), second.clone()]), WebState::Crashed);
        let again = dyno("c", "web.2", 7, Starting);
        assert_eq!(of(&[first.clone(), second, again]), WebState::Running);
        let older = dyno("d", "web.2", 6, Crashed);
        assert_eq!(of(&[first, older]), WebState::Running, "that is another release's");
        assert_eq!(state(&both, true, 7, &[dyno("a", "web.1", 7, Up)]), WebState::Asleep);
        assert_eq!(state(&[], true, 7, &[]), WebState::None);
    }

    #[test]
    fn requests_go_only_where_somebody_answers() {
        use DynoState::{Down, Starting, Up};
        let nowhere = DynoRow { address: None, ..dyno("d", "web.4", 7, Up) };
        let other = DynoRow { routed: false, ..dyno("e", "web.5", 7, Up) };
        let all = [
            dyno("a", "web.1", 7, Up),
            dyno("b", "web.2", 7, Down),
            dyno("c", "web.3", 7, Starting),
            nowhere,
            other,
        ];
        let ids: Vec<_> = routed(&all).into_iter().map(|dyno| dyno.id).collect();
        assert_eq!(ids, ["a"]);
    }

    #[test]
    fn a_certificate_covers_names_as_browsers_have_it() {
        let names = ["*.example.test".to_owned(), "other.test".to_owned()];
        assert!(covers(&names, "www.example.test") && covers(&names, "other.test"));
        assert!(covers(&names, "*.example.test"));
        assert!(!covers(&names, "a.b.example.test") && !covers(&names, "example.test"));
    }
}
