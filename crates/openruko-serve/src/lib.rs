//! The forced command of sshd: from git push to the build container.
