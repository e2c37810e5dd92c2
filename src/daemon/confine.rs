//! What the daemon gives up: all of root but [`NET_ADMIN`], and every system call it has no use for.

use super::files::{read_bounded, Files};
use super::settings::{need, Failure, Options};
use crate::config::options::Config;
use crate::sys::privileges::{self, User, NET_ADMIN, NET_BIND_SERVICE};
use std::path::Path;

/// Where the users are.
const PASSWD: &str = "/etc/passwd";
/// The first port that everybody may bind to.
const UNPRIVILEGED_PORT: u16 = 1024;

/// Becomes the user of the configuration, if this is root, and keeps the capabilities that are
/// needed. What that user is to write is made the user's first.
///
/// # Errors
/// There is no such user, the state directory is not one to give away, or the kernel refuses.
pub(super) fn privileges(options: &Options, config: &Config, files: &Files) -> Result<(), Failure> {
    let mut user = None;
    if privileges::user().uid == 0 {
        let name = config.user.as_deref().unwrap_or("0");
        let found = find(&read_bounded(Path::new(PASSWD)).unwrap_or_default(), name);
        let found = found
            .ok_or_else(|| Failure::Config(format!("option user: '{name}' is not in {PASSWD}")))?;
        let state = options.state.display();
        need(
            files.give(&options.state, found),
            format_args!("{state}: cannot be made the user's"),
        )?;
        user = Some(found);
    }
    let low = if config.port < UNPRIVILEGED_PORT { NET_BIND_SERVICE } else { 0 };
    need(privileges::keep(user, NET_ADMIN | low), "privileges")
}

/// Has the kernel filter system calls, if that is wanted and it can.
pub(super) fn calls(config: &Config) {
    if config.seccomp {
        if let Err(e) = crate::sys::filter_calls() {
            log::warn!("system calls are not filtered: {e}");
        }
    }
}

/// The user of this name, or of this number, whose group is of the same number unless the file
/// tells another.
fn find(passwd: &str, name: &str) -> Option<User> {
    let number = name.parse().ok();
    for line in passwd.lines() {
        let mut fields = line.split(':');
        let known = fields.next();
        // The password's place.
        fields.next();
        let uid = fields.next().and_then(|field| field.parse().ok());
        if known == Some(name) || uid.is_some() && uid == number {
            return Some(User { uid: uid?, gid: fields.next()?.parse().ok()? });
        }
    }
    number.map(|uid| User { uid, gid: uid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_name_or_number_270() {
        let passwd = "root:x:0:0:root:/root:/bin/ash\n\nbad\nshort:x:7\n-1:x:-1:-1::\n\
                      postern:x:453:454::/var/run/postern:/bin/false\n99:x:5:6::\n";
        let found = |name| find(passwd, name).map(|user| (user.uid, user.gid));
        assert_eq!(found("root"), Some((0, 0)));
        assert_eq!(found("postern"), Some((453, 454)));
        assert_eq!(found("453"), Some((453, 454)));
        assert_eq!(found("99"), Some((5, 6)), "a name that is a number is a name");
        assert_eq!(found("1000"), Some((1000, 1000)));
        for nobody in ["", "post", "posternx", "bad", "short", "-1", "x", "4294967296"] {
            assert_eq!(found(nobody), None, "{nobody}");
        }
    }
}
