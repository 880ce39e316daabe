//! Where requests go: the apps by host name, as the API told last.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ruko_api_types::router::{RoutedApp, RoutedApps, WebState};
use serde::{Deserialize, Serialize};
use tokio_rustls::rustls::sign::CertifiedKey;

use crate::app::AppState;
use crate::dyno::{Dyno, Open};
use crate::tls;

/// The table. It is never changed: a new one takes its place.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// What to ask the API after.
    pub(crate) revision: u64,
    apps: BTreeMap<String, Arc<App>>,
    hosts: HashMap<String, Arc<App>>,
    certificates: HashMap<String, Arc<CertifiedKey>>,
}

/// An app.
#[derive(Debug)]
pub(crate) struct App {
    /// What the API said.
    pub(crate) routed: RoutedApp,
    /// Its dynos.
    pub(crate) dynos: Vec<Arc<Dyno>>,
    /// What outlives a table.
    pub(crate) state: Arc<AppState>,
    certificates: Vec<(Vec<String>, Arc<CertifiedKey>)>,
    turn: AtomicUsize,
}

/// The table as it is kept on disk.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Kept {
    revision: u64,
    apps: Vec<RoutedApp>,
}

/// What to do with a request for an app.
#[derive(Debug)]
pub(crate) enum Choice {
    /// Send it there.
    Dyno(Open),
    /// Every dyno has as many requests as one may have.
    Full,
    /// There is none that was not tried yet.
    NoneLeft,
}

impl Table {
    /// The table after what changed, with the apps that did not change as they were. What comes `anew` is all there
    /// is.
    pub(crate) fn after(&self, changes: &RoutedApps, anew: bool) -> Self {
        let mut apps = if anew { BTreeMap::new() } else { self.apps.clone() };
        for id in &changes.gone {
            apps.remove(id);
        }
        for routed in &changes.apps {
            let before = self.apps.get(&routed.app.id);
            apps.insert(routed.app.id.clone(), Arc::new(App::new(routed.clone(), before.map(AsRef::as_ref))));
        }
        let table = Self::of(changes.revision, apps);
        self.part_with(&table);
        table
    }

    fn of(revision: u64, apps: BTreeMap<String, Arc<App>>) -> Self {
        let mut hosts = HashMap::with_capacity(apps.len());
        let mut certificates = HashMap::new();
        for app in apps.values() {
            hosts.extend(app.routed.hosts.iter().map(|host| (host.clone(), app.clone())));
            for (names, key) in &app.certificates {
                certificates.extend(names.iter().map(|name| (name.clone(), key.clone())));
            }
        }
        Self { revision, apps, hosts, certificates }
    }

    /// Dynos that are not in the next table get no new requests.
    fn part_with(&self, next: &Self) {
        for (id, app) in &self.apps {
            let stay: HashSet<_> =
                next.apps.get(id).into_iter().flat_map(|app| &app.dynos).map(Arc::as_ptr).collect();
            for dyno in app.dynos.iter().filter(|dyno| !stay.contains(&Arc::as_ptr(dyno))) {
                dyno.leave();
            }
        }
    }

    /// The app that answers to a host name.
    pub(crate) fn app_for(&self, host: &str) -> Option<&Arc<App>> {
        look_up(&self.hosts, host)
    }

    /// The app with an id.
    pub(crate) fn app(&self, id: &str) -> Option<&Arc<App>> {
        self.apps.get(id)
    }

    /// All apps.
    pub(crate) fn apps(&self) -> impl ExactSizeIterator<Item = &Arc<App>> {
        self.apps.values()
    }

    /// The certificate that an app has for a host name.
    pub(crate) fn certificate(&self, host: &str) -> Option<&Arc<CertifiedKey>> {
        look_up(&self.certificates, host)
    }

    /// As it is kept on disk.
    pub(crate) fn keep(&self) -> Kept {
        let apps = self.apps.values().map(|app| app.routed.clone()).collect();
        Kept { revision: self.revision, apps }
    }
}

impl From<Kept> for Table {
    fn from(kept: Kept) -> Self {
        let apps = kept.apps.into_iter().map(|app| (app.app.id.clone(), Arc::new(App::new(app, None))));
        Self::of(kept.revision, apps.collect())
    }
}

/// By the name itself, then by `*.` and what follows its first label.
fn look_up<'a, T>(map: &'a HashMap<String, T>, host: &str) -> Option<&'a T> {
    map.get(host).or_else(|| {
        let (label, rest) = host.split_once('.')?;
        if label.is_empty() { None } else { map.get(&format!("*.{rest}")) }
    })
}

impl App {
    fn new(routed: RoutedApp, before: Option<&Self>) -> Self {
        let known = |id: &str, address| {
            let mut dynos = before.into_iter().flat_map(|app| &app.dynos);
            dynos.find(|dyno| dyno.id == id && dyno.address == address).cloned()
        };
        let dynos = routed.dynos.iter();
        let dynos =
            dynos.map(|dyno| known(&dyno.id, dyno.address).unwrap_or_else(|| Arc::new(Dyno::new(dyno))));
        let state = before.map_or_else(|| Arc::new(AppState::new()), |app| app.state.clone());
        state.follow(routed.web, !routed.dynos.is_empty());
        let same_certificates = before.filter(|app| app.routed.certificates == routed.certificates);
        Self {
            dynos: dynos.collect(),
            state,
            certificates: same_certificates
                .map_or_else(|| certificates(&routed), |app| app.certificates.clone()),
            turn: AtomicUsize::new(0),
            routed,
        }
    }

    /// What its web dynos do.
    pub(crate) fn web(&self) -> WebState {
        self.routed.web
    }

    /// The dyno with the fewest open requests of those that were not tried yet; one after the other where several have
    /// as few. Each has so many places.
    pub(crate) fn choose(&self, places: u32, tried: &[String]) -> Choice {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.dynos.len();
        let left = |dyno: &&Arc<Dyno>| !tried.contains(&dyno.id);
        loop {
            let in_turn = (0..count).map(|at| &self.dynos[turn.wrapping_add(at) % count]).filter(left);
            let Some(least) = in_turn.min_by_key(|dyno| dyno.open()) else { return Choice::NoneLeft };
            match least.enter(places) {
                Some(open) => return Choice::Dyno(open),
                // Somebody else may just have taken its last place, and another has one left.
                None if self.dynos.iter().filter(left).all(|dyno| dyno.open() >= places) => {
                    return Choice::Full;
                }
                None => {}
            }
        }
    }
}

/// Those that can be used; of others the log tells.
fn certificates(routed: &RoutedApp) -> Vec<(Vec<String>, Arc<CertifiedKey>)> {
    let read = |certificate: &ruko_api_types::router::Certificate| match tls::parse(certificate) {
        Ok(key) => Some((certificate.hosts.clone(), key)),
        Err(error) => {
            tracing::warn!(app = %routed.app.name, error, "a certificate cannot be used");
            None
        }
    };
    routed.certificates.iter().filter_map(read).collect()
}

/// A host name as it is looked up: without a port, lower case, without a dot at its end.
pub(crate) fn host_name(host: &str) -> Cow<'_, str> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use ruko_api_types::AppRef;
    use ruko_api_types::router::RoutedDyno;

    /// An app with nothing but an id.
    pub(crate) fn app(id: &str) -> Arc<App> {
        Arc::new(App::new(routed(id, &[], &[]), None))
    }

    fn routed(id: &str, hosts: &[&str], dynos: &[&str]) -> RoutedApp {
        let dyno = |id: &&str| RoutedDyno {
            id: (*id).to_owned(),
            name: "web.1".parse().unwrap(),
            address: "127.0.0.1:1".parse().unwrap(),
        };
        RoutedApp {
            app: AppRef { id: id.into(), name: format!("app-{id}").parse().unwrap() },
            revision: 1,
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            maintenance: false,
            force_https: false,
            web: WebState::Running,
            dynos: dynos.iter().map(dyno).collect(),
            certificates: Vec::new(),
        }
    }

    fn changes(revision: u64, apps: Vec<RoutedApp>, gone: &[&str]) -> RoutedApps {
        RoutedApps { revision, more: false, apps, gone: gone.iter().map(|id| (*id).to_owned()).collect() }
    }

    fn chosen(app: &App, tried: &[String]) -> Option<String> {
        match app.choose(100, tried) {
            Choice::Dyno(open) => Some(open.id.clone()),
            Choice::Full | Choice::NoneLeft => None,
        }
    }

    #[test]
    fn a_name_is_looked_up_exactly_and_then_by_its_wildcard() {
        let apps = vec![
            routed("one", &["one.example.com"], &[]),
            routed("two", &["*.example.com", "example.com"], &[]),
        ];
        let table = Table::default().after(&changes(1, apps, &[]), true);
        let found = |host: &str| table.app_for(&host_name(host)).map(|app| app.routed.app.id.clone());
        assert_eq!(found("one.example.com").as_deref(), Some("one"));
        assert_eq!(found("ONE.example.com.:8080").as_deref(), Some("one"));
        assert_eq!(found("other.example.com").as_deref(), Some("two"));
        assert_eq!(found("example.com:443").as_deref(), Some("two"));
        for none in
            ["a.b.example.com", ".example.com", "example.org", "", "com", "[::1]:80", "one.example.com.."]
        {
            assert_eq!(found(none), None, "{none:?}");
        }
    }

    #[test]
    fn what_did_not_change_stays_and_what_is_gone_goes() {
        let first = Table::default().after(
            &changes(3, vec![routed("one", &["one"], &["a", "b"]), routed("two", &["two"], &[])], &[]),
            true,
        );
        let before = first.app("one").unwrap().clone();
        let second = first.after(&changes(4, vec![routed("one", &["uno"], &["b", "c"])], &["two"]), false);
        let after = second.app("one").unwrap();
        assert!(Arc::ptr_eq(&before.dynos[1], &after.dynos[0]), "the same dyno");
        assert!(Arc::ptr_eq(&before.state, &after.state));
        assert!(second.app("two").is_none() && second.app_for("two").is_none());
        assert!(second.app_for("one").is_none() && second.app_for("uno").is_some());
        let anew = second.after(&changes(2, vec![routed("two", &["two"], &[])], &[]), true);
        assert_eq!((anew.revision, anew.apps().len()), (2, 1));
    }

    #[test]
    fn a_table_comes_back_from_disk() {
        let table = Table::default().after(&changes(7, vec![routed("one", &["one"], &["a"])], &[]), true);
        let text = serde_json::to_vec(&table.keep()).unwrap();
        let back = Table::from(serde_json::from_slice::<Kept>(&text).unwrap());
        assert_eq!(back.revision, 7);
        assert_eq!(back.app_for("one").unwrap().routed, table.app_for("one").unwrap().routed);
    }

    #[test]
    fn the_dyno_with_the_fewest_requests_is_chosen() {
        let table =
            Table::default().after(&changes(1, vec![routed("one", &[], &["a", "b", "c"])], &[]), true);
        let app = table.app("one").unwrap();
        let mut in_turn: Vec<_> = (0..3).map(|_| chosen(app, &[]).unwrap()).collect();
        in_turn.sort();
        assert_eq!(in_turn, ["a", "b", "c"], "one after the other");
        let held = [app.dynos[0].enter(9).unwrap(), app.dynos[2].enter(9).unwrap()];
        assert!((0..5).all(|_| chosen(app, &[]).as_deref() == Some("b")));
        assert_ne!(chosen(app, &["b".to_owned()]).as_deref(), Some("b"));
        assert_eq!(chosen(app, &["a".to_owned(), "b".to_owned(), "c".to_owned()]), None);
        let _third = app.dynos[1].enter(9).unwrap();
        assert!(matches!(app.choose(1, &[]), Choice::Full));
        drop(held);
        assert!(matches!(app.choose(1, &[]), Choice::Dyno(_)));
    }
}
