//! `/proc/PID/mountinfo`, see `proc_pid_mountinfo(5)`.

/// One mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The directory of the file system that is shown.
    pub root: String,
    /// Where.
    pub point: String,
    /// The options of this mount, such as `ro`.
    pub options: Vec<String>,
    /// The type of the file system.
    pub kind: String,
    /// The options of the file system; for cgroup version 1 its controllers are among them.
    pub super_options: Vec<String>,
}

/// Reads a mountinfo file. Lines that are not understood are left out.
pub fn parse(text: &str) -> Vec<Mount> {
    text.lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<Mount> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(3);
    let (root, point, options) = (fields.next()?, fields.next()?, fields.next()?);
    let mut fields = filesystem.split(' ');
    let (kind, _source, super_options) = (fields.next()?, fields.next()?, fields.next()?);
    Some(Mount {
        root: unescape(root),
        point: unescape(point),
        options: list(options),
        kind: kind.to_owned(),
        super_options: list(super_options),
    })
}

fn list(options: &str) -> Vec<String> {
    options.split(',').map(str::to_owned).collect()
}

/// Space, tab, line break and backslash are written as three octal digits.
fn unescape(field: &str) -> String {
    field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// Those of `targets` that are not a read-only mount of their own in this mountinfo text. Where several
/// mounts lie on one point, the last one is what is seen.
pub fn not_read_only<'a>(text: &str, targets: &'a [String]) -> Vec<&'a str> {
    let mounts = parse(text);
    let read_only = |target: &str| {
        let top = mounts.iter().rev().find(|mount| mount.point == target);
        top.is_some_and(|mount| mount.options.iter().any(|option| option == "ro"))
    };
    targets.iter().map(String::as_str).filter(|target| !read_only(target)).collect()
}

/// The mount points of these types of file systems that are writable.
pub fn writable_of(text: &str, kinds: &[&str]) -> Vec<String> {
    let writable = |mount: &Mount| !mount.options.iter().any(|option| option == "ro");
    let mounts = parse(text).into_iter();
    mounts
        .filter(|mount| kinds.contains(&mount.kind.as_str()) && writable(mount))
        .map(|mount| mount.point)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "\
66 43 7:0 /rootfs / rw,nosuid,nodev,relatime,idmapped shared:1 - ext4 /dev/loop0 rw
71 66 254:0 /usr /usr ro,nosuid,nodev,relatime shared:13 - ext4 /dev/vda rw,discard
72 66 254:0 /certs /etc/ssl/certs rw,nosuid,nodev,relatime - ext4 /dev/vda ro,discard
73 66 254:0 /a\\040b /opt/a\\040b ro - ext4 /dev/vda rw
74 66 254:0 /x /opt/x ro - ext4 /dev/vda rw
75 66 254:0 /y /opt/x rw - ext4 /dev/vda rw
";

    #[test]
    fn a_mount_line_is_read_with_and_without_optional_fields() {
        let mounts = parse(INFO);
        assert_eq!(mounts.len(), 6);
        assert_eq!((mounts[0].point.as_str(), mounts[0].kind.as_str()), ("/", "ext4"));
        assert_eq!(mounts[2].super_options, ["ro", "discard"]);
        assert_eq!(mounts[3].point, "/opt/a b");
    }

    #[test]
    fn a_bind_that_is_writable_missing_or_covered_is_named() {
        let targets =
            ["/usr", "/etc/ssl/certs", "/opt/a b", "/opt/x", "/opt/none"].map(str::to_owned).to_vec();
        assert_eq!(writable_of(INFO, &["ext4"]), ["/", "/etc/ssl/certs", "/opt/x"]);
        assert_eq!(writable_of(INFO, &["cgroup"]), [""; 0]);
        assert_eq!(not_read_only(INFO, &targets), ["/etc/ssl/certs", "/opt/x", "/opt/none"]);
    }
}
