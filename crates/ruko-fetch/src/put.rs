//! `ruko-fetch put`.

use ruko_core::{Exit, Fault};
use ruko_storage::{PutError, Stored};

use crate::PutArgs;
use crate::get::explain;
use crate::stream;

pub(crate) fn put(args: &PutArgs) -> Result<Exit, Fault> {
    let url = stream::url(&args.url)?;
    let mut input = stream::input(&args.input)?;
    let stored = ruko_storage::put(&url, &mut *input, args.max_bytes).map_err(|e| match e {
        PutError::TooLarge { max } => {
            let shown = ruko_core::message::bytes(max);
            Fault::refused(format!("cannot put `{url}`: it is larger than {max} bytes ({shown})"))
                .hint("store less, or raise --max-bytes")
        }
        PutError::Source(why) => Fault::refused(format!("cannot read `{}`: {why}", args.input.display())),
        PutError::Storage(why) => explain(why),
        other => other.into(),
    })?;
    print(&stored, args.json)
}

/// The object is stored; that nobody reads its digest any more is still told by the exit status.
fn print(stored: &Stored, json: bool) -> Result<Exit, Fault> {
    let line =
        if json { serde_json::to_string(stored)? } else { format!("{} {}", stored.bytes, stored.sha256) };
    match stream::print(&line) {
        Ok(()) => Ok(Exit::Ok),
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(Exit::Refused),
        Err(e) => Err(Fault::refused(format!("stored, but cannot write to stdout: {e}"))),
    }
}
