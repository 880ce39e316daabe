//! The way out through a proxy, where the environment names one (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`).
//!
//! The proxy carries bytes (`CONNECT`, RFC 9110 §9.3.6); TLS is between this machine and the server.

use hyper::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::upstream::{NoConnection, authority, bare_host, is_loopback, tcp};

/// The head of a proxy's answer must fit here.
const HEAD_BYTES: usize = 8 << 10;

/// The proxies that the environment names.
pub(crate) struct Proxies(Matcher);

impl Proxies {
    pub(crate) fn from_env() -> Self {
        Self(Matcher::from_env())
    }

    /// A connection to the host, through the proxy where there is one for it. None is asked for this machine.
    pub(crate) async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, NoConnection> {
        match self.proxy_for(host, port) {
            Some(proxy) => tunnel(&proxy, host, port).await,
            None => Ok(tcp(host, port).await?),
        }
    }

    fn proxy_for(&self, host: &str, port: u16) -> Option<Intercept> {
        let uri: Uri = format!("https://{}", authority(host, port)).parse().ok()?;
        if is_loopback(host) { None } else { self.0.intercept(&uri) }
    }
}

async fn tunnel(proxy: &Intercept, host: &str, port: u16) -> Result<TcpStream, NoConnection> {
    let uri = proxy.uri();
    let (Some("http"), Some(proxy_host)) = (uri.scheme_str(), bare_host(uri)) else {
        return Err(NoConnection("the proxy that the environment names is none of http://".to_owned()));
    };
    let shown = authority(&proxy_host, uri.port_u16().unwrap_or(80));
    let what = |why: String| NoConnection(format!("the proxy {shown}: {why}"));
    let connected = tcp(&proxy_host, uri.port_u16().unwrap_or(80)).await;
    let mut stream = connected.map_err(|error| what(NoConnection::from(error).0))?;
    let target = authority(host, port);
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
    if let Some(login) = proxy.basic_auth() {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(login.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    stream.write_all(&request).await?;
    let head = head(&mut stream).await.map_err(|error| what(NoConnection::from(error).0))?;
    let first = head.lines().next().unwrap_or_default();
    match first.split_whitespace().nth(1) {
        Some(status) if status.starts_with('2') && first.starts_with("HTTP/1.") => Ok(stream),
        _ => Err(what(format!("answered `{}`", first.escape_debug()))),
    }
}

/// Reads up to the empty line and not a byte further: what follows is the server's.
async fn head(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == HEAD_BYTES {
            return Err(std::io::Error::other("its answer does not end"));
        }
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::time::Duration;

    /// A proxy that gives one answer, and what it was asked.
    fn proxy(answer: &'static str) -> (u16, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let mut stream = BufReader::new(stream);
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).unwrap();
                match line.trim_end() {
                    "" => break,
                    line => lines.push(line.to_owned()),
                }
            }
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
            lines
        });
        (port, asked)
    }

    fn connect(proxies: &Proxies) -> Result<String, NoConnection> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut stream = proxies.connect("paas.test", 5001).await?;
            let mut rest = String::new();
            stream.read_to_string(&mut rest).await?;
            Ok(rest)
        })
    }

    fn proxies(url: String) -> Proxies {
        Proxies(Matcher::builder().https(url).no("inside.test").build())
    }

    #[test]
    fn a_proxy_is_asked_for_the_host_and_then_only_carries_bytes() {
        let (port, asked) = proxy("HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nthe server");
        let rest = connect(&proxies(format!("http://Aladdin:opensesame@127.0.0.1:{port}"))).unwrap();
        assert_eq!(rest, "the server");
        let expected = [
            "CONNECT paas.test:5001 HTTP/1.1",
            "Host: paas.test:5001",
            "Proxy-Authorization: Basic QWxhZGRpbjpvcGVuc2VzYW1l",
        ];
        assert_eq!(asked.join().unwrap(), expected);
    }

    #[test]
    fn a_proxy_that_refuses_is_named() {
        let (port, asked) = proxy("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
        let why = connect(&proxies(format!("http://127.0.0.1:{port}"))).unwrap_err();
        assert_eq!(
            why.0,
            format!("the proxy 127.0.0.1:{port}: answered `HTTP/1.1 407 Proxy Authentication Required`")
        );
        asked.join().unwrap();
    }

    #[test]
    fn this_machine_and_what_the_user_names_go_past_it() {
        let proxies = proxies("http://proxy.test:3128".to_owned());
        for (host, through) in [
            ("paas.test", true),
            ("10.0.0.1", true),
            ("inside.test", false),
            ("localhost", false),
            ("127.0.0.1", false),
            ("::1", false),
        ] {
            assert_eq!(proxies.proxy_for(host, 443).is_some(), through, "{host}");
        }
    }
}
