//! What a request asks for: a closed set of git's calls on one app.

use axum::http::{HeaderMap, Method, Uri};
use ruko_api_types::Access;
use ruko_core::AppName;

/// A service of git.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// A push.
    ReceivePack,
    /// A fetch or clone.
    UploadPack,
}

impl Service {
    /// As it stands in URLs and content types: `git-receive-pack`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ReceivePack => "git-receive-pack",
            Self::UploadPack => "git-upload-pack",
        }
    }

    /// What of the app it needs.
    pub(crate) fn access(self) -> Access {
        match self {
            Self::ReceivePack => Access::Write,
            Self::UploadPack => Access::Read,
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::ReceivePack, Self::UploadPack].into_iter().find(|service| service.name() == name)
    }
}

/// Which half of the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// `GET …/info/refs?service=…`.
    Advertisement,
    /// `POST …/git-…-pack`.
    Rpc,
}

/// A call that may be asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) app: AppName,
    pub(crate) service: Service,
    pub(crate) phase: Phase,
}

/// A request that is none of git's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// There is nothing at this path.
    Path,
    /// The repository's name cannot be an app's.
    App,
    /// The dumb protocol, which reads a repository's files.
    Dumb,
    /// A service that is not offered.
    Service,
    /// Another method than this path has.
    Method(&'static str),
}

/// Reads a request's line.
pub(crate) fn parse(method: &Method, uri: &Uri) -> Result<Wanted, Unknown> {
    let path = uri.path().strip_prefix('/').ok_or(Unknown::Path)?;
    let (repository, call) = path.split_once('/').ok_or(Unknown::Path)?;
    let app = || {
        let name = repository.strip_suffix(".git").unwrap_or(repository);
        name.parse::<AppName>().map_err(|_| Unknown::App)
    };
    match call {
        "info/refs" => {
            let service = asked_service(uri).ok_or(Unknown::Dumb)?;
            let service = Service::named(service).ok_or(Unknown::Service)?;
            expect(method, &Method::GET, "GET")?;
            Ok(Wanted { app: app()?, service, phase: Phase::Advertisement })
        }
        "HEAD" => Err(Unknown::Dumb),
        call if call.starts_with("objects/") => Err(Unknown::Dumb),
        call => {
            let service = Service::named(call).ok_or(Unknown::Path)?;
            expect(method, &Method::POST, "POST")?;
            Ok(Wanted { app: app()?, service, phase: Phase::Rpc })
        }
    }
}

fn asked_service(uri: &Uri) -> Option<&str> {
    uri.query()?.split('&').find_map(|pair| pair.strip_prefix("service="))
}

fn expect(method: &Method, expected: &Method, name: &'static str) -> Result<(), Unknown> {
    if method == expected { Ok(()) } else { Err(Unknown::Method(name)) }
}

/// `Git-Protocol` in the form that git sends (gitprotocol-v2(5)); anything else is as if it were not there.
pub(crate) fn git_protocol(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("git-protocol")?.to_str().ok()?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"=:.-_".contains(&b);
    ((1..=256).contains(&value.len()) && value.bytes().all(plain)).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(uri: &str) -> Result<Wanted, Unknown> {
        parse(&Method::GET, &uri.parse().unwrap())
    }

    fn post(uri: &str) -> Result<Wanted, Unknown> {
        parse(&Method::POST, &uri.parse().unwrap())
    }

    fn shop(service: Service, phase: Phase) -> Result<Wanted, Unknown> {
        Ok(Wanted { app: "shop".parse().unwrap(), service, phase })
    }

    #[test]
    fn gits_calls_are_understood_with_and_without_git_at_the_end() {
        use Service::{ReceivePack, UploadPack};
        for repository in ["shop", "shop.git"] {
            let refs = |service| get(&format!("/{repository}/info/refs?service={service}"));
            assert_eq!(refs("git-upload-pack"), shop(UploadPack, Phase::Advertisement));
            assert_eq!(refs("git-receive-pack"), shop(ReceivePack, Phase::Advertisement));
            let rpc = |service| post(&format!("/{repository}/{service}"));
            assert_eq!(rpc("git-upload-pack"), shop(UploadPack, Phase::Rpc));
            assert_eq!(rpc("git-receive-pack"), shop(ReceivePack, Phase::Rpc));
        }
    }

    #[test]
    fn everything_else_is_none_of_them() {
        for (uri, expected) in [
            ("/", Unknown::Path),
            ("/shop.git", Unknown::Path),
            ("/shop.git/", Unknown::Path),
            ("/a/shop.git/info/refs?service=git-upload-pack", Unknown::Path),
            ("/shop.git/config", Unknown::Path),
            ("/shop.git/info/refs", Unknown::Dumb),
            ("/shop.git/HEAD", Unknown::Dumb),
            ("/shop.git/objects/info/packs", Unknown::Dumb),
            ("/shop.git/info/refs?service=git-upload-archive", Unknown::Service),
            ("/../info/refs?service=git-upload-pack", Unknown::App),
            ("/Shop.git/info/refs?service=git-upload-pack", Unknown::App),
            ("/sh%6fp/info/refs?service=git-upload-pack", Unknown::App),
            ("/--x.git/info/refs?service=git-upload-pack", Unknown::App),
            ("/shop.git/git-receive-pack", Unknown::Method("POST")),
        ] {
            assert_eq!(get(uri), Err(expected), "{uri}");
        }
        assert_eq!(post("/shop.git/info/refs?service=git-upload-pack"), Err(Unknown::Method("GET")));
        assert_eq!(post("/shop.git/git-upload-archive"), Err(Unknown::Path));
    }

    #[test]
    fn the_protocol_is_passed_on_only_when_well_formed() {
        let protocol = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("git-protocol", value.parse().unwrap());
            git_protocol(&headers)
        };
        assert_eq!(protocol("version=2").as_deref(), Some("version=2"));
        for bad in ["", "a b", "$(id)", &"x".repeat(300)] {
            assert_eq!(protocol(bad), None, "{bad}");
        }
    }
}
