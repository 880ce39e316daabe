//! From settings to listening doors, and to their end.

use std::sync::Arc;
use std::time::Duration;

use axum::Router as Pages;
use axum::routing::get;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use ruko_core::{Exit, Fault, Hint, Vital};
use ruko_http::vital;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::door::{Door, room, streams};
use crate::follow::{follow, keep, load, write};
use crate::router::{Router, stopped};
use crate::settings::Settings;
use crate::sockets::{Sockets, Taken};
use crate::tls::Tls;

/// Connections at a time, if the system lets this program have as many files.
const CONNECTIONS: u64 = 16_384;

/// Files for everything but connections.
const OTHER_FILES: u64 = 512;

/// How long the last lines of logs may take.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Serves until SIGTERM or SIGINT.
pub(crate) fn run(settings: Settings, upgrade: bool) -> Result<Exit, Fault> {
    ruko_http::log_to_stderr();
    let places = places()?;
    let runtime = Runtime::new().try_again("cannot start threads")?;
    runtime.block_on(serve(settings, places, upgrade))
}

/// As many connections as there can be: each may need one to a dyno.
fn places() -> Result<usize, Fault> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).fault("cannot ask how many files may be open")?;
    let wanted = most.min(2 * CONNECTIONS + OTHER_FILES);
    setrlimit(Resource::RLIMIT_NOFILE, wanted, most).fault("cannot have more files open")?;
    let places = wanted.saturating_sub(OTHER_FILES) / 2;
    if places < 64 {
        let fault = Fault::refused(format!("only {most} files may be open at a time"));
        return Err(fault.hint("raise the limit (LimitNOFILE= of systemd) to 4096 or more"));
    }
    Ok(usize::try_from(places).unwrap_or(usize::MAX))
}

async fn serve(mut settings: Settings, places: usize, upgrade: bool) -> Result<Exit, Fault> {
    let stop = ruko_http::told_to_stop().fault("cannot listen to signals")?;
    let Taken { sockets, predecessor } = Sockets::take(&settings, upgrade)?;
    // Where the system chose a port, it is known now.
    settings.tls_listen = sockets.https.as_ref().and_then(|listener| listener.local_addr().ok());
    let (sender, table) = watch::channel(Arc::new(load(&settings.state_file)));
    let tls = match sockets.https {
        Some(_) => Some(Tls::new(&settings.certificates, table.clone())?),
        None => None,
    };
    let router = Arc::new(Router::new(settings.clone(), settings.api(), table.clone()));
    start_threads(&router, sender);
    tokio::spawn(vital(router.clone().tell_activity()));
    tokio::spawn(vital(router.clone().sweep()));
    watch_certificates(tls.clone())?;
    let copy = tokio::spawn(vital(keep(settings.state_file.clone(), table)));

    let listening = sockets.describe();
    // The copy of the table may be older than a successor should begin with.
    let (state_file, latest) = (settings.state_file.clone(), router.table.clone());
    let handed = sockets.offer(&settings.state_file, move || {
        let table = latest.borrow().clone();
        write(&state_file, &table);
    })?;
    let (room, streams) = (room(places), streams(places));
    let door = |tls| {
        let (router, room, streams) = (router.clone(), room.clone(), streams.clone());
        Arc::new(Door { router, tls, room, streams, places })
    };
    let mut doors = JoinSet::new();
    doors.spawn(vital(door(None).keep_open(sockets.http)));
    if let (Some(tls), Some(listener)) = (tls, sockets.https) {
        doors.spawn(vital(door(Some(tls)).keep_open(listener)));
    }
    if let Some(listener) = sockets.metrics {
        tokio::spawn(vital(serve_metrics(router.clone(), listener)));
    }
    predecessor.relieve();
    for line in listening {
        eprintln!("openruko-router: {line}");
    }

    let alone = tokio::select! {
        () = stop => true,
        () = handed => false,
    };
    tracing::info!(taken_over = !alone, "ends when open requests have ended");
    copy.abort();
    if alone {
        write(&settings.state_file, &router.table.borrow());
    }
    router.stop();
    drain(doors, settings.shutdown).await;
    end_log(router).await;
    Ok(Exit::Ok)
}

/// The two that talk to the API with calls that may take long.
fn start_threads(router: &Arc<Router>, table: watch::Sender<Arc<crate::table::Table>>) {
    let (followed, logged) = (router.clone(), router.clone());
    std::thread::spawn(move || {
        let _vital = Vital;
        follow(&followed.api, &table, &followed.heard);
    });
    std::thread::spawn(move || {
        let _vital = Vital;
        logged.lines.send(&logged.api);
    });
}

/// Looks for new certificates at SIGHUP.
fn watch_certificates(tls: Option<Tls>) -> Result<(), Fault> {
    let mut hangup = signal(SignalKind::hangup()).fault("cannot listen to signals")?;
    tokio::spawn(vital(async move {
        while hangup.recv().await.is_some() {
            if let Some(tls) = &tls {
                tls.look();
            }
        }
    }));
    Ok(())
}

/// Until the program is to end: another one may have the same socket, and be asked on it.
async fn serve_metrics(router: Arc<Router>, listener: TcpListener) {
    let mut stopping = router.stopping.subscribe();
    let pages = Pages::new().route("/metrics", get(move || async move { router.metrics.text(&router) }));
    let served = axum::serve(listener, pages);
    if let Err(error) = served.with_graceful_shutdown(async move { stopped(&mut stopping).await }).await {
        tracing::error!(%error, "metrics are served no more");
    }
}

/// Lets open requests end, for so long; what is open then is cut off.
async fn drain(mut doors: JoinSet<JoinSet<()>>, time: Duration) {
    let until = tokio::time::Instant::now() + time;
    while let Some(door) = doors.join_next().await {
        let Ok(mut open) = door else { continue };
        let ended = async { while open.join_next().await.is_some() {} };
        if tokio::time::timeout_at(until, ended).await.is_err() {
            tracing::warn!(open = open.len(), "requests were still open after {} seconds", time.as_secs());
            open.shutdown().await;
        }
    }
}

async fn end_log(router: Arc<Router>) {
    router.lines.end();
    let sent = async {
        while !router.lines.is_sent() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = tokio::time::timeout(LAST_LINES, sent).await;
}
