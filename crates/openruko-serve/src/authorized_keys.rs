//! `openruko-serve keys --all`: every key in a marked section of an authorized_keys file, for an sshd that
//! cannot ask (sshd(8), "AUTHORIZED_KEYS FILE FORMAT"). Lines outside of the section are somebody else's and
//! stay as they are, byte for byte.

use std::collections::HashSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use ruko_core::{Exit, Fault, Hint};
use ruko_sys::{AtPath, Lock, PathError};

use crate::context::Context;
use crate::keys;
use crate::terminal;

/// The first line of the section.
const BEGIN: &str = "# openruko begin: these lines are written by `openruko-serve keys --all`";
/// The last line of the section.
const END: &str = "# openruko end";
/// What an authorized_keys file may have, in bytes: a million keys of the longest kind.
const MAX_FILE: u64 = 4 << 30;
/// Of a file that is made, and of its directory: sshd takes no others' word (sshd_config(5), StrictModes).
const FILE_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;
/// Links on the way to the file, as the kernel counts them (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// Foreign lines that are warned about.
const WARNED: usize = 10;

/// Writes the section. Fails closed: when the API does not answer, the file stays as it was.
pub(crate) fn write(context: &Context, file: Option<PathBuf>) -> Result<Exit, Fault> {
    let path = file.map_or_else(of_home, Ok)?;
    if nix::unistd::geteuid().is_root()
        && let Some(owner) = owner(&path)?
    {
        let failed =
            format!("cannot become the user {}, who can write to the directory of the file", owner.uid);
        ruko_sys::process::become_user(owner.uid, owner.gid).fault(failed)?;
    }
    let path = target(&path)?;
    make_directory(&path)?;
    // One lock for the whole run, from before the question: whoever asked first would else write last.
    let lock = Lock::take(&beside(&path)).map_err(not_locked)?;
    let section = section(context)?;
    let old = read(&path)?;
    let Parts { before, inside, after } = split(&old.bytes).map_err(|why| unusable(&path, why))?;
    let new = joined(before, &section, after);
    for warning in shadowed(before, &section) {
        terminal::trouble(warning);
    }
    if new != old.bytes {
        ruko_sys::replace_as(&path, old.mode, old.owner, &new)?;
    }
    confirm(&path, &section)?;
    drop(lock);
    let had: HashSet<&[u8]> = lines(inside).collect();
    let has: HashSet<&[u8]> = section.iter().map(|line| line.trim_end().as_bytes()).collect();
    terminal::step(format!(
        "{} keys in {}: {} added, {} removed",
        section.len(),
        path.display(),
        has.difference(&had).count(),
        had.difference(&has).count()
    ));
    if old.mode & 0o022 != 0 {
        terminal::trouble(format!(
            "sshd refuses {}, which others can write: chmod 600 mends that.",
            path.display()
        ));
    }
    Ok(Exit::Ok)
}

/// All lines, each with its end. Which are asked for in pieces, since there may be a million.
fn section(context: &Context) -> Result<Vec<String>, Fault> {
    let serve = std::env::current_exe().fault("cannot find myself")?;
    let mut all = Vec::new();
    let mut after = String::new();
    loop {
        let page = context.api.keys_after(&after).try_again("cannot ask the API for the keys")?;
        for owner in &page.keys {
            all.push(keys::line(&serve, &context.config_path, owner)?);
        }
        match page.next {
            Some(next) => after = next,
            None => return Ok(all),
        }
    }
}

fn of_home() -> Result<PathBuf, Fault> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).ok_or_else(|| {
        Fault::usage("which file? HOME is not set").hint("name it: openruko-serve keys --all FILE")
    })?;
    Ok(Path::new(&home).join(".ssh/authorized_keys"))
}

/// A user other than root.
#[derive(Debug, PartialEq, Eq)]
struct Owner {
    uid: u32,
    gid: u32,
}

/// Who could put something else where a file is, or where one will be: the owner of the first directory or link on the way to
/// it that is not root's. Root acts as that user, so that nothing can lead it to where that user may not write. None: only
/// root can.
fn owner(path: &Path) -> Result<Option<Owner>, Fault> {
    let mut way = std::path::absolute(path).at("find", path)?;
    for _ in 0..MAX_LINKS {
        match look_along(&way)? {
            Step::Ends(owner) => return Ok(owner),
            Step::Leads(to) => way = to,
        }
    }
    Err(Fault::refused(format!("`{}` leads over more than {MAX_LINKS} links", path.display())))
}

/// Where the way to a file goes.
enum Step {
    /// It was looked at as far as only root says where it goes.
    Ends(Option<Owner>),
    /// To another place, by a link of root's.
    Leads(PathBuf),
}

fn look_along(way: &Path) -> Result<Step, Fault> {
    let mut at = PathBuf::from("/");
    let mut parts = way.components().filter(|part| *part != Component::RootDir).peekable();
    while let Some(part) = parts.next() {
        let open = fs::metadata(&at).at("look at", &at)?.mode() & 0o1022;
        let dir = at.clone();
        at.push(part);
        let meta = match fs::symlink_metadata(&at) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            meta => Some(meta.at("look at", &at)?),
        };
        // In a directory with the sticky bit nobody else can replace what is root's.
        if open & 0o022 != 0 && (open & 0o1000 == 0 || meta.is_none()) {
            return Err(Fault::refused(format!("others than root can write to `{}`", dir.display()))
                .hint("run it as the user whose file it is"));
        }
        let is_last = parts.peek().is_none();
        match meta {
            None => return Ok(Step::Ends(None)),
            Some(meta) if meta.is_symlink() && meta.uid() == 0 => {
                let to = fs::read_link(&at).at("follow", &at)?;
                return Ok(Step::Leads(parts.fold(dir.join(to), |way, part| way.join(part))));
            }
            // The file itself: who owns it can change it and cannot put another in its place.
            Some(meta) if is_last && !meta.is_symlink() => return Ok(Step::Ends(None)),
            Some(meta) if meta.uid() != 0 => {
                return Ok(Step::Ends(Some(Owner { uid: meta.uid(), gid: meta.gid() })));
            }
            Some(_) => {}
        }
    }
    Ok(Step::Ends(None))
}

/// Where the bytes are: a link is followed, so that it stays one, unless somebody else could have made it.
fn target(path: &Path) -> Result<PathBuf, Fault> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_symlink() => {
            let mine = nix::unistd::geteuid().as_raw();
            if meta.uid() != mine && meta.uid() != 0 {
                let why = format!("`{}` is a link that belongs to uid {}", path.display(), meta.uid());
                return Err(Fault::refused(why).hint("run it as that user, or name the file itself"));
            }
            Ok(fs::canonicalize(path).at("follow", path)?)
        }
        Ok(meta) if !meta.is_file() => Err(Fault::refused(format!("`{}` is no file", path.display()))),
        Ok(_) => Ok(path.to_owned()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(path.to_owned()),
        Err(source) => Err(PathError { verb: "look at", path: path.to_owned(), source }.into()),
    }
}

/// The directory, if it is not there.
fn make_directory(path: &Path) -> Result<(), PathError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    if dir.as_os_str().is_empty() || dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new().mode(DIR_MODE).create(dir).at("make the directory", dir)?;
    Ok(())
}

fn not_locked(why: PathError) -> Fault {
    let is_file = || fs::symlink_metadata(&why.path).is_ok_and(|meta| meta.is_file());
    let of_another = why.source.kind() == io::ErrorKind::PermissionDenied && is_file();
    let mend = format!("another user made it in an earlier run: rm {}", why.path.display());
    let fault = Fault::from(why);
    if of_another { fault.hint(mend) } else { fault }
}

/// Not the file itself, which is replaced: a lock on it would be one on a file that is gone.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".openruko-lock");
    path.with_file_name(name)
}

/// What is there.
struct Old {
    bytes: Vec<u8>,
    mode: u32,
    /// None: whoever makes it.
    owner: Option<(u32, u32)>,
}

fn read(path: &Path) -> Result<Old, Fault> {
    match fs::metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            Ok(Old { bytes: vec![], mode: FILE_MODE, owner: None })
        }
        Ok(meta) if meta.len() > MAX_FILE => {
            let size = ruko_core::message::bytes(meta.len());
            Err(unusable(
                path,
                &format!("it has {size}, and {} is the limit", ruko_core::message::bytes(MAX_FILE)),
            ))
        }
        outcome => {
            let meta = outcome.at("look at", path)?;
            let bytes = fs::read(path).at("read", path)?;
            // Only root can give a file away: one of root's in the directory of another user becomes theirs.
            let me = nix::unistd::geteuid();
            let owner = (me.is_root() || meta.uid() == me.as_raw()).then_some((meta.uid(), meta.gid()));
            Ok(Old { bytes, mode: meta.mode() & 0o7777, owner })
        }
    }
}

fn unusable(path: &Path, why: &str) -> Fault {
    Fault::refused(format!("`{}` stays as it is: {why}", path.display()))
        .hint("mend it by hand: the section begins and ends with one line each, `# openruko begin…` and `# openruko end`")
}

/// Each line without its end: `\n` or `\r\n`.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let all = text.split(|&b| b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    all.filter(|line| !line.is_empty())
}

/// A file in three parts.
#[derive(Clone, Copy)]
struct Parts<'a> {
    before: &'a [u8],
    /// The lines of the section, without its first and its last.
    inside: &'a [u8],
    after: &'a [u8],
}

/// Finds the section. One that is begun and not ended, or there twice, may hold foreign lines: nobody can
/// tell which.
fn split(bytes: &[u8]) -> Result<Parts<'_>, &'static str> {
    let (mut begin, mut end) = (None, None);
    let mut at = 0;
    for line in bytes.split_inclusive(|&b| b == b'\n') {
        let text = line.trim_ascii_end();
        if text.starts_with(b"# openruko begin") {
            if begin.replace((at, at + line.len())).is_some() {
                return Err("the section of openruko begins twice");
            }
        } else if text == END.as_bytes() {
            if begin.is_none() {
                return Err("the section of openruko ends before it begins");
            }
            if end.replace((at, at + line.len())).is_some() {
                return Err("the section of openruko ends twice");
            }
        }
        at += line.len();
    }
    match (begin, end) {
        (None, None) => Ok(Parts { before: bytes, inside: b"", after: b"" }),
        (Some((begin, inside)), Some((end, after))) if inside <= end => {
            Ok(Parts { before: &bytes[..begin], inside: &bytes[inside..end], after: &bytes[after..] })
        }
        (Some(_), _) => Err("the section of openruko has no end"),
        (None, Some(_)) => Err("the section of openruko has no beginning"),
    }
}

/// The new file. A last foreign line without an end gets one: it would else swallow our first.
fn joined(before: &[u8], section: &[String], after: &[u8]) -> Vec<u8> {
    let bytes = section.iter().map(String::len).sum::<usize>();
    let mut new = Vec::with_capacity(before.len() + bytes + after.len() + 200);
    new.extend_from_slice(before);
    if before.last().is_some_and(|&b| b != b'\n') {
        new.push(b'\n');
    }
    new.extend_from_slice(format!("{BEGIN}\n").as_bytes());
    section.iter().for_each(|line| new.extend_from_slice(line.as_bytes()));
    new.extend_from_slice(format!("{END}\n").as_bytes());
    new.extend_from_slice(after);
    new
}

/// sshd uses the first line that has a key: foreign ones before the section that have one of ours.
fn shadowed(before: &[u8], section: &[String]) -> Vec<String> {
    let blob = |line: &str| line.split(' ').next_back().map(|blob| blob.trim_end().to_owned());
    let ours: HashSet<String> = section.iter().filter_map(|line| blob(line)).collect();
    let has_ours = |line: &[u8]| {
        String::from_utf8_lossy(line).split_whitespace().any(|word| word.len() > 40 && ours.contains(word))
    };
    let numbered = before.split(|&b| b == b'\n').enumerate().filter(|(_, line)| !line.starts_with(b"#"));
    let found = numbered.filter(|(_, line)| has_ours(line)).take(WARNED);
    found
        .map(|(n, _)| {
            format!("Line {} has a key of a user of openruko: sshd takes that line and not ours.", n + 1)
        })
        .collect()
}

/// A key that was removed must not open any more: the file is read again.
fn confirm(path: &Path, section: &[String]) -> Result<(), Fault> {
    let now = fs::read(path).at("read", path)?;
    let inside = split(&now).map_err(|why| unusable(path, why))?.inside;
    if inside == section.concat().as_bytes() {
        return Ok(());
    }
    Err(Fault::try_again(format!("`{}` was changed by somebody else meanwhile", path.display()))
        .hint("run it again"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn section(names: &[&str]) -> Vec<String> {
        names
            .iter()
            .map(|name| format!("restrict,command=\"serve {name}\" ssh-ed25519 AAAA{name}\n"))
            .collect()
    }

    fn after(old: &str, names: &[&str]) -> String {
        let Parts { before, after, .. } = split(old.as_bytes()).unwrap();
        String::from_utf8(joined(before, &section(names), after)).unwrap()
    }

    #[test]
    fn foreign_lines_stay_as_they_are_wherever_they_stand() {
        let foreign = "ssh-rsa AAAAB root@x\r\n\n# a comment\n";
        let first = after(foreign, &["a", "b"]);
        assert!(first.starts_with(foreign) && first.ends_with("# openruko end\n"), "{first}");
        let more = format!("{first}ssh-rsa AAAAC last@x");
        let second = after(&more, &["b"]);
        assert!(second.starts_with(foreign) && second.ends_with("# openruko end\nssh-rsa AAAAC last@x"));
        assert!(!second.contains("AAAAa\n") && second.contains("AAAAb\n"), "{second}");
        assert_eq!(after(&second, &["b"]), second, "a second run changes nothing");
    }

    #[test]
    fn an_unterminated_line_does_not_swallow_ours() {
        assert!(after("ssh-rsa AAAA x", &["a"]).starts_with("ssh-rsa AAAA x\n# openruko begin"));
        assert!(after("", &[]).starts_with("# openruko begin"));
    }

    #[test]
    fn a_section_that_came_through_an_editor_of_another_system_is_found() {
        let crlf = after("x\n", &["a"]).replace('\n', "\r\n");
        let mended = after(&crlf, &["b"]);
        assert!(mended.starts_with("x\r\n# openruko begin") && !mended.contains("AAAAa"), "{mended:?}");
    }

    #[test]
    fn a_section_that_is_torn_is_not_guessed_at() {
        let whole = after("", &["a"]);
        for torn in [
            whole.replace(END, ""),
            whole.replace(BEGIN, ""),
            format!("{whole}{whole}"),
            format!("{END}\n{BEGIN}\n"),
            format!("{whole}{END}\n"),
        ] {
            assert!(split(torn.as_bytes()).is_err(), "{torn}");
        }
    }

    #[test]
    fn a_foreign_line_that_would_win_is_named() {
        let key = "A".repeat(60);
        let ours = vec![format!("restrict,command=\"serve a\" ssh-ed25519 {key}\n")];
        let foreign = format!("# {key}\n\ncommand=\"bash -i\" ssh-ed25519 {key} me@x\nssh-rsa AAAAB x\n");
        let warned = shadowed(foreign.as_bytes(), &ours);
        assert_eq!(warned.len(), 1, "{warned:?}");
        assert!(warned[0].starts_with("Line 3 "), "{warned:?}");
    }

    #[test]
    fn whoever_can_put_something_else_on_the_way_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir_all(path("home/.ssh")).unwrap();
        fs::write(path("home/.ssh/authorized_keys"), "").unwrap();
        let is_root = nix::unistd::geteuid().is_root();
        if is_root {
            for theirs in ["home", "home/.ssh/authorized_keys"] {
                std::os::unix::fs::chown(path(theirs), Some(7), Some(8)).unwrap();
            }
        }
        let me = fs::metadata(path("home")).unwrap();
        let mine = || Some(Owner { uid: me.uid(), gid: me.gid() });
        std::os::unix::fs::symlink("home", path("link")).unwrap();
        for name in ["home/.ssh/authorized_keys", "home/.ssh/none", "home/none/x", "link/.ssh/none"] {
            assert_eq!(owner(&path(name)).unwrap(), mine(), "{name}");
        }
        if is_root {
            fs::rename(path("home/.ssh"), path("of-root")).unwrap();
            assert_eq!(
                owner(&path("of-root/authorized_keys")).unwrap(),
                None,
                "root can replace it, and nobody else"
            );
            assert_eq!(owner(&path("of-root/none")).unwrap(), None);
            std::os::unix::fs::symlink("/", path("home/.ssh")).unwrap();
            assert_eq!(owner(&path("home/.ssh/none")).unwrap(), mine());
            fs::set_permissions(path("of-root"), std::os::unix::fs::PermissionsExt::from_mode(0o777))
                .unwrap();
            assert!(owner(&path("of-root/authorized_keys")).is_err());
        }
        assert_eq!(owner(Path::new("/usr/none/authorized_keys")).unwrap(), None);
        std::os::unix::fs::symlink("circle", path("circle")).unwrap();
        assert_eq!(owner(&path("circle")).is_err(), is_root);
    }

    proptest! {
        #[test]
        fn no_foreign_byte_is_lost(before in "[a-z \r\n#]{0,60}", after_it in "[a-z \r\n#]{0,60}") {
            let old = format!("{}{}", after(&before, &["a"]), after_it);
            let new = after(&old, &["b", "c"]);
            prop_assert!(new.starts_with(&before) && new.ends_with(&after_it));
            prop_assert_eq!(after(&new, &["a"]), old);
        }
    }
}
