//! What a build container says over the host channel.
#![no_main]

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use libfuzzer_sys::fuzz_target;
use ruko_api_types::host::ReleaseProgress;
use ruko_api_types::{Committed, Stored};
use ruko_channel::{BuildRequest, CommitRequest, Host, MAX_AGENT_MESSAGE, MAX_MESSAGE, Refusal, serve};
use ruko_core::AppName;

/// More does not fit into the socket at once.
const MOST: usize = 16 << 10;

/// A host side that has nothing and takes everything.
struct Anything;

fn no<T>() -> Result<T, Refusal> {
    Err(Refusal("no".to_owned()))
}

impl Host for Anything {
    fn build(&self) -> Result<BuildRequest, Refusal> {
        no()
    }

    fn repo(&self) -> Result<Option<Box<dyn Read>>, Refusal> {
        Ok(Some(Box::new(&b"repository"[..])))
    }

    fn source(&self) -> Result<Option<Box<dyn Read>>, Refusal> {
        no()
    }

    fn submodule(&self, _app: &AppName) -> Result<Option<Box<dyn Read>>, Refusal> {
        Ok(None)
    }

    fn agent(&self, message: &[u8]) -> Result<Vec<u8>, Refusal> {
        assert!(message.len() <= MAX_AGENT_MESSAGE);
        Ok(message.to_vec())
    }

    fn cache(&self) -> Option<Box<dyn Read>> {
        None
    }

    fn store_slug(&self, bytes: &mut dyn Read) -> Result<Stored, Refusal> {
        let taken = std::io::copy(bytes, &mut std::io::sink()).map_err(|e| Refusal(e.to_string()))?;
        assert!(taken <= MOST as u64, "no more than came");
        Ok(Stored { bytes: taken, sha256: String::new() })
    }

    /// It stops in the middle.
    fn store_repo(&self, bytes: &mut dyn Read) -> Result<Stored, Refusal> {
        let _ = bytes.read(&mut [0; 16]);
        no()
    }

    fn commit(&self, request: CommitRequest) -> Result<Committed, Refusal> {
        assert!(request.refs.len() <= MOST);
        no()
    }

    fn progress(&self, _output_from: u64) -> Result<ReleaseProgress, Refusal> {
        no()
    }

    fn output(&self, text: &str) {
        assert!(text.len() <= MAX_MESSAGE);
    }

    fn failed(&self, reason: &str) -> Vec<String> {
        vec![reason.chars().take(10).collect()]
    }
}

fuzz_target!(|bytes: &[u8]| {
    let (mut container, host) = UnixStream::pair().unwrap();
    container.write_all(&bytes[..bytes.len().min(MOST)]).unwrap();
    container.shutdown(Shutdown::Write).unwrap();
    std::thread::scope(|scope| {
        // A container that reads no answers holds up nobody but itself, and here it would hold up the fuzzer.
        scope.spawn(|| std::io::copy(&mut container, &mut std::io::sink()));
        let _ = serve(&host, &Anything);
        let _ = host.shutdown(Shutdown::Both);
    });
});
