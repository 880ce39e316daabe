//! The forwarder: what the CLI takes for its server, on a loopback port for as long as the CLI runs.
//!
//! Only the CLI that it was made for gets through: either a request shows the key of this run, which is
//! then exchanged for the user's token, or its path begins with the segment of this run, and then it goes
//! on without any token (streams, whose addresses are secrets themselves, and the buildpack registry).

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request;
use hyper::http::uri::PathAndQuery;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use ruko_core::{Fault, Hint, exit};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};

use crate::rendezvous::{Place, Rendezvous};
use crate::rewrite::{self, Key, Link};
use crate::secret::Secrets;
use crate::upstream::{NoConnection, Server, Upstream};

/// Connections of the CLI at a time; a further one waits.
const MAX_CONNECTIONS: usize = 256;

/// How long a connection may take to send the head of a request, or stay without one.
const HEAD_TIME: Duration = Duration::from_secs(30);

/// The pause after a connection could not be accepted.
const BREATH: Duration = Duration::from_millis(100);

/// How long a connection to the server is kept for the next request. Shorter than servers keep theirs.
const KEEP_TIME: Duration = Duration::from_secs(15);

/// An answer whose addresses are exchanged is held in memory as a whole: no longer than this. The longest
/// that there are, lists of all apps, have about a thousand bytes for each.
const MAX_JSON: usize = 64 << 20;

/// What concerns one connection and is not passed on (RFC 9110 §7.6.1, and what the forwarder settles
/// itself).
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// A body made here, or one that is passed on as it comes.
type Body = Either<Full<Bytes>, Incoming>;

/// Carries the CLI's requests to a server until it is dropped.
pub struct Forwarder {
    url: String,
    open_url: String,
    key: String,
    certificate: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Forwarder {
    /// Listens on a port of its own, on loopback only.
    ///
    /// The server is not asked anything yet: whether it can be reached shows with the first request, which
    /// is answered with 503 and the reason when it cannot.
    ///
    /// # Errors
    /// The server's address, token or certificates cannot be used, or the system gives no port or thread.
    pub fn start(upstream: &Upstream) -> Result<Self, Fault> {
        let server = Server::new(upstream)?;
        let (secrets, rendezvous) = (Secrets::new()?, Rendezvous::new()?);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .fault("the forwarder cannot be started")?;
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .fault("the forwarder gets no port")?;
        let address = listener.local_addr().fault("the forwarder gets no port")?;
        let (key, certificate) = (secrets.key.clone(), rendezvous.certificate.clone());
        let (url, open_url) = (format!("http://{address}"), format!("http://{address}/{}", secrets.segment));
        let state = Arc::new(State { server, secrets, rendezvous, address, idle: Arc::default() });
        let (stop, stopped) = oneshot::channel();
        let serve = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, state) => {}
                    // Also when the forwarder is dropped.
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new()
            .name("forwarder".into())
            .spawn(serve)
            .fault("the forwarder cannot be started")?;
        Ok(Self { url, open_url, key, certificate, stop: Some(stop), thread: Some(thread) })
    }

    /// Where the CLI finds its API, without a slash at the end. Only requests with [`Self::key`] get through.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same for what is asked without a key: its path is the secret, and no token is sent on.
    pub fn open_url(&self) -> &str {
        &self.open_url
    }

    /// What the CLI takes for its API key. Good for this forwarder only.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The certificate (PEM) that the CLI must trust for `run`.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

struct State {
    server: Server,
    secrets: Secrets,
    rendezvous: Rendezvous,
    address: SocketAddr,
    /// Connections to the server that wait for a request, the latest last.
    idle: Arc<Mutex<Vec<(Instant, Sender)>>>,
}

type Sender = SendRequest<Incoming>;

async fn serve(listener: TcpListener, state: Arc<State>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
    loop {
        let place = room.clone().acquire_owned().await;
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                // A client that went away at once, or no file descriptor is free: neither is the end.
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let state = state.clone();
        let service = service_fn(move |request| {
            let state = state.clone();
            async move { Ok::<_, std::convert::Infallible>(state.answer(request).await) }
        });
        let connection = http.serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            // How a connection ends is its client's affair.
            let _ = connection.await;
            drop(place);
        });
    }
}

/// By which door a request came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Door {
    /// It showed the key: the user's token goes with it.
    Key,
    /// Its path began with the segment: no token goes with it.
    Open,
}

/// What is said instead of the server's answer.
struct Refusal {
    status: StatusCode,
    id: &'static str,
    message: String,
}

type Judged<T> = Result<T, Refusal>;

impl State {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        self.forward(request).await.unwrap_or_else(Refusal::into_response)
    }

    async fn forward(&self, request: Request<Incoming>) -> Judged<Response<Body>> {
        let (mut head, body) = request.into_parts();
        let (door, path) = self.admit(&head)?;
        head.uri = Uri::from(path);
        self.adapt(&mut head.headers, door);
        let head_only = head.method == Method::HEAD;
        let answer =
            self.send(Request::from_parts(head, body)).await.map_err(|why| self.unreachable(&why))?;
        let (mut head, body) = answer.into_parts();
        drop_hop_by_hop(&mut head.headers);
        self.localize_redirect(&mut head.headers, door);
        if head_only || !head.status.is_success() || !is_json(&head.headers) {
            return Ok(Response::from_parts(head, Either::Right(body)));
        }
        if head.headers.contains_key(header::CONTENT_ENCODING) {
            return Err(self.bad_gateway("compressed its answer, although it was asked not to"));
        }
        let json = self.collect(body).await?;
        head.headers.remove(header::CONTENT_LENGTH);
        Ok(Response::from_parts(head, Either::Left(Full::new(self.localize(json).await?))))
    }

    fn admit(&self, head: &request::Parts) -> Judged<(Door, PathAndQuery)> {
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        if let Some(path) = self.secrets.behind_segment(path) {
            let path = PathAndQuery::try_from(path)
                .map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "bad_request", "This is no path."))?;
            return Ok((Door::Open, path));
        }
        if !self.shows_key(&head.headers) {
            return Err(Refusal::new(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "This port serves the Heroku CLI that openruko has started, and nobody else.",
            ));
        }
        Ok((Door::Key, PathAndQuery::try_from(path).unwrap_or(PathAndQuery::from_static("/"))))
    }

    fn shows_key(&self, headers: &HeaderMap) -> bool {
        headers.get(header::AUTHORIZATION).is_some_and(|shown| self.secrets.shown_by(shown.as_bytes()))
    }

    /// Makes the headers of the CLI those of a request to the server.
    fn adapt(&self, headers: &mut HeaderMap, door: Door) {
        match door {
            Door::Key => {
                headers.insert(header::AUTHORIZATION, self.server.authorization.clone());
            }
            Door::Open if self.shows_key(headers) => {
                headers.remove(header::AUTHORIZATION);
            }
            Door::Open => {}
        }
        drop_hop_by_hop(headers);
        // hyper has answered it.
        headers.remove(header::EXPECT);
        headers.insert(header::HOST, self.server.host.clone());
        // Addresses in answers are exchanged, which a compressed one hides.
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }

    /// Sends a request over a kept connection, or a new one where there is none or it has just closed.
    async fn send(&self, mut request: Request<Incoming>) -> Result<Response<Incoming>, NoConnection> {
        while let Some(mut sender) = self.kept() {
            match sender.try_send_request(request).await {
                Ok(answer) => {
                    self.keep(sender);
                    return Ok(answer);
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(broken(&error.into_error())),
                },
            }
        }
        let connection = TokioIo::new(self.server.connect().await?);
        let handshake = hyper::client::conn::http1::handshake(connection).await;
        let (mut sender, connection) = handshake.map_err(|error| broken(&error))?;
        // Whether it broke shows in the answers.
        tokio::spawn(async move { drop(connection.await) });
        let answer = sender.send_request(request).await.map_err(|error| broken(&error))?;
        self.keep(sender);
        Ok(answer)
    }

    /// The kept connection that was used last, if it still stands.
    fn kept(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(since, sender)| since.elapsed() < KEEP_TIME && !sender.is_closed());
        idle.pop().map(|(_, sender)| sender)
    }

    /// Keeps a connection once its answer has been read.
    fn keep(&self, mut sender: Sender) {
        let idle = self.idle.clone();
        tokio::spawn(async move {
            if sender.ready().await.is_ok() {
                idle.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), sender));
            }
        });
    }

    /// Leads a redirect that stays with the server through the forwarder again. One to somewhere else is the
    /// CLI's to follow, which knows no token.
    fn localize_redirect(&self, headers: &mut HeaderMap, door: Door) {
        let path = headers.get(header::LOCATION).and_then(|to| to.to_str().ok()).and_then(|to| {
            let is_path = to.starts_with('/') && !to.starts_with("//");
            if is_path { Some(to) } else { self.server.origin.path_of(to) }
        });
        if let Some(Ok(local)) = path.map(|path| HeaderValue::try_from(self.local(path, door))) {
            headers.insert(header::LOCATION, local);
        }
    }

    /// Where a path of the server is found here.
    fn local(&self, path: &str, door: Door) -> String {
        match door {
            Door::Key => format!("http://{}{path}", self.address),
            Door::Open => format!("http://{}/{}{path}", self.address, self.secrets.segment),
        }
    }

    async fn collect(&self, body: Incoming) -> Judged<Bytes> {
        let collected = Limited::new(body, MAX_JSON).collect().await;
        collected.map(|body| body.to_bytes()).map_err(|error| {
            if error.is::<LengthLimitError>() {
                self.bad_gateway(&format!("sent an answer of more than {} MB", MAX_JSON >> 20))
            } else {
                self.unreachable(&NoConnection(format!("the answer broke off: {}", exit::chain(&*error))))
            }
        })
    }

    /// Exchanges the addresses in an answer that lead to the server for such that lead through here.
    async fn localize(&self, json: Bytes) -> Judged<Bytes> {
        let mut exchange = Vec::new();
        for link in rewrite::links(&json) {
            if let Some(local) = self.local_link(&link).await? {
                exchange.push((link, local));
            }
        }
        Ok(if exchange.is_empty() { json } else { rewrite::exchanged(&json, &exchange).into() })
    }

    /// Where the CLI finds what a link leads to; nothing for a link that it follows by itself. So it is with
    /// an `attach_url` of https: it is ssh, and the CLI takes no plain http there.
    async fn local_link(&self, link: &Link) -> Judged<Option<String>> {
        match link.key {
            Key::Stream => {
                let path = self.server.origin.path_of(&link.url);
                Ok(path.map(|path| self.local(path, Door::Open)))
            }
            Key::Attach => {
                let Some(place) = Place::parse(&link.url) else { return Ok(None) };
                let opened = self.rendezvous.open(place, &self.server.dialer).await;
                opened
                    .map(Some)
                    .map_err(|why| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unreachable", &why.0))
            }
        }
    }

    fn unreachable(&self, why: &NoConnection) -> Refusal {
        let message = format!("cannot reach {}: {}", self.server.origin, why.0);
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unreachable", &message)
    }

    fn bad_gateway(&self, why: &str) -> Refusal {
        Refusal::new(StatusCode::BAD_GATEWAY, "bad_gateway", &format!("{} {why}", self.server.origin))
    }
}

fn broken(error: &hyper::Error) -> NoConnection {
    NoConnection(exit::chain(error))
}

impl Refusal {
    fn new(status: StatusCode, id: &'static str, message: &str) -> Self {
        Self { status, id, message: exit::one_line(message) }
    }

    /// An error as the CLI prints it.
    fn into_response(self) -> Response<Body> {
        let json = serde_json::json!({ "id": self.id, "message": self.message }).to_string();
        let mut response = Response::new(Either::Left(Full::from(json)));
        *response.status_mut() = self.status;
        let of_type = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, of_type);
        response
    }
}

fn drop_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|names| names.to_str().ok())
        .flat_map(|names| names.split(',').map(|name| name.trim().to_owned()))
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let of_type = headers.get(header::CONTENT_TYPE).and_then(|of_type| of_type.to_str().ok());
    let of_type = of_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    of_type.eq_ignore_ascii_case("application/json") || of_type.to_ascii_lowercase().ends_with("+json")
}
