//! Why a request failed, in Heroku's codes (<https://devcenter.heroku.com/articles/error-codes>).

/// Why a request to an app was not answered by the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Code {
    /// All web dynos crashed.
    Crashed,
    /// Every web dyno has as many open requests as one may have, or as many requests wait for the app as may.
    Backlog,
    /// The dyno sent nothing for `first_byte_seconds`.
    Timeout,
    /// The dyno closed the connection without a byte of an answer.
    NoAnswer,
    /// There are no web dynos.
    NoDynos,
    /// The dyno was silent for `rolling_seconds` in the midst of its answer.
    Idle,
    /// What the dyno sent is not HTTP.
    BadAnswer,
    /// The dyno closed the connection in the midst of its answer.
    Interrupted,
    /// The dyno did not take the connection in time.
    ConnectTimeout,
    /// The app did not come up in time.
    Boot,
    /// The dyno refused the connection.
    Refused,
    /// As many requests wait in this router as may.
    Waiting,
    /// The router ended before the request did.
    Forced,
    /// The request is wrong in a way that shows after its head.
    BadRequest,
    /// The client went away.
    ClientGone,
    /// The client was silent for `rolling_seconds` in the midst of its request, or took nothing of the answer.
    ClientIdle,
    /// The app is being worked on.
    Maintenance,
    /// Trouble of the router itself.
    Platform,
}

impl Code {
    /// All of them.
    pub(crate) const ALL: [Self; 18] = [
        Self::Crashed,
        Self::Backlog,
        Self::Timeout,
        Self::NoAnswer,
        Self::NoDynos,
        Self::Idle,
        Self::BadAnswer,
        Self::Interrupted,
        Self::ConnectTimeout,
        Self::Boot,
        Self::Refused,
        Self::Waiting,
        Self::Forced,
        Self::BadRequest,
        Self::ClientGone,
        Self::ClientIdle,
        Self::Maintenance,
        Self::Platform,
    ];

    /// `H10` and its description, as in Heroku's log lines.
    pub(crate) const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Crashed => ("H10", "App crashed"),
            Self::Backlog => ("H11", "Backlog too deep"),
            Self::Timeout => ("H12", "Request timeout"),
            Self::NoAnswer => ("H13", "Connection closed without response"),
            Self::NoDynos => ("H14", "No web processes running"),
            Self::Idle => ("H15", "Idle connection"),
            Self::BadAnswer => ("H17", "Poorly formatted HTTP response"),
            Self::Interrupted => ("H18", "Server Request Interrupted"),
            Self::ConnectTimeout => ("H19", "Backend connection timeout"),
            Self::Boot => ("H20", "App boot timeout"),
            Self::Refused => ("H21", "Backend connection refused"),
            Self::Waiting => ("H22", "Connection limit reached"),
            Self::Forced => ("H24", "Forced close"),
            Self::BadRequest => ("H26", "Request Error"),
            Self::ClientGone => ("H27", "Client Request Interrupted"),
            Self::ClientIdle => ("H28", "Client Connection Idle"),
            Self::Maintenance => ("H80", "Maintenance mode"),
            Self::Platform => ("H99", "Platform error"),
        }
    }

    /// The status of the answer; 499, which nobody gets, for a client that is gone.
    pub(crate) const fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::ClientGone => 499,
            Self::ClientIdle => 408,
            _ => 503,
        }
    }

    /// Whether it is the app's or the platform's trouble, and not what was asked for.
    pub(crate) const fn is_error(self) -> bool {
        !matches!(self, Self::Maintenance)
    }

    /// After how many seconds it is worth trying again, where that is likely to help.
    pub(crate) const fn retry_after(self) -> Option<u32> {
        match self {
            Self::Backlog | Self::Waiting | Self::Boot | Self::ConnectTimeout | Self::Refused => Some(5),
            Self::Maintenance => Some(120),
            _ => None,
        }
    }
}
