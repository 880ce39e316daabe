//! Who comes in: from a request's head to a user who may, and to the service.

use std::net::IpAddr;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{Method, Response};
use axum::{Extension, Router};
use ruko_api_client::{ApiClient, ApiClientError, Authentication};
use ruko_api_types::Authenticate;
use ruko_core::exit::chain;
use ruko_core::{AppName, UserName};
use ruko_http::{ClientAddress, Places};

use crate::body::RequestBody;
use crate::credentials::Token;
use crate::prelude::Prelude;
use crate::serve::Serve;
use crate::settings::Settings;
use crate::wanted::{self, Phase, Service, Wanted};
use crate::{advertisement, answer, rpc};

/// Services at a time. Each may hold a container; the machine's slots are the bound that is met first.
const IN_ALL: usize = 256;

/// Services of one user at a time.
const PER_USER: usize = 16;

/// A user's place for a service.
pub(crate) type Place = ruko_http::Place<UserName>;

/// What every request is answered with.
struct Front {
    settings: Settings,
    places: Places<UserName>,
}

/// An answer, or in its place a refusal.
type Answered = Result<Response<Body>, Refused>;

/// What a client is told that does not get to git.
type Refused = Box<Response<Body>>;

pub(crate) fn router(settings: Settings) -> Router {
    let front = Arc::new(Front { settings, places: Places::new(IN_ALL, PER_USER) });
    Router::new().fallback(handle).with_state(front)
}

async fn handle(
    State(front): State<Arc<Front>>,
    Extension(ClientAddress(address)): Extension<ClientAddress>,
    request: Request,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let (begun, method, path) = (Instant::now(), parts.method.clone(), parts.uri.path().to_owned());
    let answered = front.answer(&parts, body, address).await.unwrap_or_else(|refused| *refused);
    let (status, ms) = (answered.status().as_u16(), begun.elapsed().as_millis());
    tracing::debug!(%method, path, %address, status, ms, "answered");
    answered
}

impl Front {
    async fn answer(&self, parts: &Parts, body: Body, address: IpAddr) -> Answered {
        let wanted = wanted::parse(&parts.method, &parts.uri)
            .map_err(|unknown| Box::new(answer::unknown(unknown, &parts.method)))?;
        let user = self.user(parts, address, &wanted).await?;
        self.authorize(&user, &wanted).await?;
        let place = self.places.take(&user).map_err(|full| Box::new(answer::full(full)))?;
        let record = Record::new(&parts.method, &wanted, &user, address);
        match wanted.phase {
            Phase::Advertisement => {
                let serve = self.start(&user, &wanted, parts, place)?;
                Ok(advertisement::answer(serve, wanted.service, record).await)
            }
            Phase::Rpc => self.rpc(parts, body, &user, &wanted, place, record).await,
        }
    }

    /// Only now is the body asked for.
    async fn rpc(
        &self,
        parts: &Parts,
        body: Body,
        user: &UserName,
        wanted: &Wanted,
        place: Place,
        record: Record,
    ) -> Answered {
        let expected = format!("application/x-{}-request", wanted.service.name());
        if parts.headers.get(CONTENT_TYPE).is_none_or(|given| given.as_bytes() != expected.as_bytes()) {
            return Err(Box::new(answer::wrong_type(&expected)));
        }
        let max = self.settings.max_request_bytes;
        let mut body = RequestBody::new(&parts.headers, body, max)
            .map_err(|error| Box::new(answer::bad_body(&error)))?;
        let prelude = match Prelude::read(wanted.service, &mut body).await {
            Ok(prelude) => prelude,
            Err(error) => {
                body.drain().await;
                return Err(Box::new(answer::bad_body(&error)));
            }
        };
        if prelude.is_probe {
            // What git says to it is nothing at all.
            return Ok(answer::empty(&rpc::content_type(wanted.service)));
        }
        let serve = self.start(user, wanted, parts, place)?;
        Ok(rpc::answer(serve, wanted.service, prelude, body, record))
    }

    fn start(&self, user: &UserName, wanted: &Wanted, parts: &Parts, place: Place) -> Result<Serve, Refused> {
        let protocol = wanted::git_protocol(&parts.headers);
        Serve::start(&self.settings, user, wanted, protocol.as_deref(), place).map_err(|error| {
            tracing::error!(%error, "openruko-serve cannot be started");
            Box::new(answer::not_started())
        })
    }

    /// Whose token it is, and whether its scope reaches so far. Asked each time: a token that was taken back opens nothing from then on.
    async fn user(&self, parts: &Parts, address: IpAddr, wanted: &Wanted) -> Result<UserName, Refused> {
        let token = Token::of(&parts.headers).ok_or_else(|| {
            Box::new(answer::unauthorized(
                "Log in to use this repository: any user name, and a token as the password.",
            ))
        })?;
        let asked = Authenticate { token: token.into_inner(), access: wanted.service.access(), address };
        match self.ask(move |api| api.authenticate(&asked)).await? {
            Authentication::User(user) => Ok(user),
            Authentication::Refused => {
                let why = "This token is not known, or it has expired. Log in again.";
                Err(Box::new(answer::unauthorized(why)))
            }
            Authentication::TooNarrow(words) => Err(Box::new(answer::too_narrow(&words))),
            Authentication::Throttled(words) => Err(Box::new(answer::throttled(&words))),
        }
    }

    /// openruko-serve authorizes for itself. Here it is done so that who may not gets no further, and sends
    /// no body.
    async fn authorize(&self, user: &UserName, wanted: &Wanted) -> Result<(), Refused> {
        let access = wanted.service.access();
        let (of, app): (UserName, AppName) = (user.clone(), wanted.app.clone());
        let allowed = self.ask(move |api| api.authorize(&of, &app, access)).await?;
        if allowed { Ok(()) } else { Err(Box::new(answer::denied(&wanted.app))) }
    }

    /// Asks the API. No answer is a refusal.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&ApiClient) -> Result<T, ApiClientError> + Send + 'static,
    ) -> Result<T, Refused> {
        let api = self.settings.api.clone();
        let asked = tokio::task::spawn_blocking(move || question(&api)).await;
        let why = match asked {
            Ok(Ok(said)) => return Ok(said),
            Ok(Err(error)) => chain(&error),
            Err(error) => error.to_string(),
        };
        tracing::error!(why, "the API gave no answer");
        Err(Box::new(answer::api_down()))
    }
}

/// A service's line in the log, written when it has ended.
pub(crate) struct Record {
    method: Method,
    service: Service,
    app: AppName,
    user: UserName,
    address: IpAddr,
    begun: Instant,
}

impl Record {
    fn new(method: &Method, wanted: &Wanted, user: &UserName, address: IpAddr) -> Self {
        Self {
            method: method.clone(),
            service: wanted.service,
            app: wanted.app.clone(),
            user: user.clone(),
            address,
            begun: Instant::now(),
        }
    }

    /// With the status of HTTP and that of openruko-serve, which is none when its client went away or it
    /// had to be killed.
    pub(crate) fn end(self, status: u16, exit: Option<ExitStatus>) {
        let Self { method, service, app, user, address, begun } = self;
        let (service, ms) = (service.name(), begun.elapsed().as_millis());
        let exit = exit.and_then(|exit| exit.code());
        tracing::info!(%method, service, %app, %user, %address, status, exit, ms, "served");
    }
}
