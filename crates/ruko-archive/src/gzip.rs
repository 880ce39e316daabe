//! Compression into gzip, in blocks of a fixed size, each a gzip member of its own: they can be
//! compressed beside each other, and every gzip reader takes them as one stream (RFC 1952, section 2.2).
//! Where a block ends depends on the bytes only, so the output does not depend on the number of threads.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::mem;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use libdeflater::{CompressionLvl, Compressor};

/// Uncompressed bytes of a member. Larger blocks compress a little better; smaller ones spread better.
const BLOCK: usize = 512 << 10;

/// More threads than this bring nothing: one thread reads the files.
const MOST_THREADS: usize = 64;

const STORED_LEVEL: i32 = 0;
const FAST_LEVEL: i32 = 1;
const NORMAL_LEVEL: i32 = 6;

/// How an archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all, in a gzip container: for contents that are compressed already.
    Stored,
    /// Quickly, on the calling thread: for caches, which are read again by the next build only.
    Fast,
    /// As small as gzip makes it, on this many threads beside the calling one. The bytes are the same
    /// for any number of threads.
    Parallel {
        /// At least 1 and at most 64 are used.
        threads: usize,
    },
}

/// Writes gzip.
pub(crate) struct Gzip<W: Write> {
    to: W,
    /// Always of [`BLOCK`] bytes; the first `filled` are waiting to be compressed.
    block: Vec<u8>,
    filled: usize,
    engine: Engine,
    members: u64,
}

enum Engine {
    Here(Compressor),
    Beside(Pool),
}

impl<W: Write> Gzip<W> {
    pub(crate) fn new(to: W, how: Compression) -> Self {
        let engine = match how {
            Compression::Stored => Engine::Here(compressor(STORED_LEVEL)),
            Compression::Fast => Engine::Here(compressor(FAST_LEVEL)),
            Compression::Parallel { threads } => Engine::Beside(Pool::start(threads.clamp(1, MOST_THREADS))),
        };
        Self { to, block: vec![0; BLOCK], filled: 0, engine, members: 0 }
    }

    /// Takes at most `most` bytes straight from a reader, without a buffer between. 0 is its end.
    pub(crate) fn read_from(&mut self, from: &mut impl Read, most: u64) -> io::Result<Taken> {
        let room = BLOCK - self.filled;
        let wanted = usize::try_from(most).unwrap_or(usize::MAX).min(room);
        let space = &mut self.block[self.filled..self.filled + wanted];
        let count = match from.read(space) {
            Ok(count) => count,
            Err(error) => return Ok(Taken::Failed(error)),
        };
        self.filled += count;
        self.send_if_full()?;
        Ok(Taken::Bytes(count))
    }

    fn send_if_full(&mut self) -> io::Result<()> {
        if self.filled == BLOCK { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> io::Result<()> {
        self.members += 1;
        match &mut self.engine {
            Engine::Here(compressor) => {
                let member = compress(compressor, &self.block[..self.filled])?;
                self.to.write_all(&member)?;
            }
            Engine::Beside(pool) => {
                let mut full = mem::take(&mut self.block);
                full.truncate(self.filled);
                pool.send(full)?;
                self.block = match pool.take_when_busy()? {
                    Some(done) => {
                        self.to.write_all(&done.member)?;
                        done.spent
                    }
                    None => Vec::new(),
                };
                self.block.resize(BLOCK, 0);
            }
        }
        self.filled = 0;
        Ok(())
    }

    /// Writes what is left. Even of nothing there is one member.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        if self.filled > 0 || self.members == 0 {
            self.send()?;
        }
        if let Engine::Beside(pool) = &mut self.engine {
            while let Some(done) = pool.take()? {
                self.to.write_all(&done.member)?;
            }
        }
        self.to.flush()?;
        Ok(self.to)
    }
}

impl<W: Write> Write for Gzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(BLOCK - self.filled);
        self.block[self.filled..self.filled + count].copy_from_slice(&bytes[..count]);
        self.filled += count;
        self.send_if_full()?;
        Ok(count)
    }

    /// Blocks keep their size: nothing is sent early.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What [`Gzip::read_from`] did; its own errors are those of the output.
pub(crate) enum Taken {
    Bytes(usize),
    /// The reader failed.
    Failed(io::Error),
}

fn compressor(level: i32) -> Compressor {
    Compressor::new(CompressionLvl::new(level).unwrap_or_default())
}

fn compress(compressor: &mut Compressor, block: &[u8]) -> io::Result<Vec<u8>> {
    let mut member = vec![0; compressor.gzip_compress_bound(block.len())];
    let length = compressor.gzip_compress(block, &mut member).map_err(io::Error::other)?;
    member.truncate(length);
    Ok(member)
}

/// A block's way through a thread and back.
struct Job {
    block: Vec<u8>,
    done: SyncSender<io::Result<Done>>,
}

struct Done {
    member: Vec<u8>,
    /// The block, to be filled again.
    spent: Vec<u8>,
}

/// Threads that compress. Results are taken in the order in which blocks were sent.
struct Pool {
    jobs: Option<SyncSender<Job>>,
    waiting: VecDeque<Receiver<io::Result<Done>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    fn start(threads: usize) -> Self {
        let (jobs, queue) = sync_channel::<Job>(Self::in_flight(threads));
        let queue = Arc::new(Mutex::new(queue));
        let start = |_| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || work(&queue))
        };
        Self { jobs: Some(jobs), waiting: VecDeque::new(), threads: (0..threads).map(start).collect() }
    }

    /// Blocks on their way at most: enough that no thread waits while a file is read or output written.
    fn in_flight(threads: usize) -> usize {
        2 * threads + 2
    }

    fn send(&mut self, block: Vec<u8>) -> io::Result<()> {
        let (done, result) = sync_channel(1);
        let sent = self.jobs.as_ref().map(|jobs| jobs.send(Job { block, done }));
        if !matches!(sent, Some(Ok(()))) {
            return Err(gone());
        }
        self.waiting.push_back(result);
        Ok(())
    }

    /// The oldest result, when as many blocks are on their way as may be.
    fn take_when_busy(&mut self) -> io::Result<Option<Done>> {
        if self.waiting.len() < Self::in_flight(self.threads.len()) { Ok(None) } else { self.take() }
    }

    /// The oldest result, waiting for it; none when no block is on its way.
    fn take(&mut self) -> io::Result<Option<Done>> {
        match self.waiting.pop_front() {
            Some(result) => result.recv().map_err(|_| gone())?.map(Some),
            None => Ok(None),
        }
    }
}

impl Drop for Pool {
    /// Threads end when no more jobs can come.
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("a compressing thread has ended")
}

fn work(queue: &Mutex<Receiver<Job>>) {
    let mut compressor = compressor(NORMAL_LEVEL);
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { block, done }) = job else { return };
        let result = compress(&mut compressor, &block).map(|member| Done { member, spent: block });
        // Nobody waits any more when packing was given up.
        let _ = done.send(result);
    }
}
