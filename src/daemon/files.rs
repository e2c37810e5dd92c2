//! The state directory and the lease files: read at start, replaced whole, never per packet.
//!
//! While the daemon runs, the kernel is where the leases are kept. The state file is for the next
//! start after a stop, and is written then; a copy made now and then is for a crash that takes the
//! kernel's table along. The peer file is for others to read; a longer one is written less often,
//! so that what it costs in a second does not grow with the number of mappings.

use super::leases::{self, Clocks, Run, Saved};
use crate::config::options::{Config, Uuid};
use crate::gateway::mapping::Mapping;
use crate::gateway::Gateway;
use crate::netfilter::Backend;
use crate::sys::privileges::User;
use std::fmt::{self, Write};
use std::fs;
use std::io::{self, BufWriter, Read, Seek, Write as _};
use std::os::unix::fs::{fchown, lchown, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// From the first change to the copy of the state file that covers it.
pub const STATE_DELAY: Duration = Duration::from_secs(600);

/// From the first change to the peer file that covers it, with so many mappings.
pub fn peer_delay(mappings: usize) -> Duration {
    Duration::from_secs(2) + Duration::from_millis(10).saturating_mul(mappings as u32)
}

/// What the state directory has, with what is there for a moment while a file is replaced.
const OURS: [&str; 5] = ["leases", "leases.new", "uuid", "uuid.new", "control"];

/// Where the files are.
pub struct Files {
    leases: PathBuf,
    uuid: PathBuf,
    peer: Option<PathBuf>,
    peer6: Option<PathBuf>,
}

impl Files {
    /// The files of a state directory and a configuration.
    pub fn new(state: &Path, config: &Config) -> Files {
        let peer = |name, path: &Option<String>| {
            let mut path = path.as_ref().map(PathBuf::from);
            let clash = |path: &mut PathBuf| OURS.iter().any(|name| *path == state.join(name));
            if let Some(path) = path.take_if(clash) {
                log::warn!(
                    "option {name}: {} is a file of the state directory's own, so no lease file \
                     is written; name another place",
                    path.display()
                );
            }
            path
        };
        Files {
            leases: state.join("leases"),
            uuid: state.join("uuid"),
            peer: peer("upnp_lease_file", &config.upnp_lease_file),
            peer6: peer("upnp_lease_file6", &config.upnp_lease_file6),
        }
    }

    /// Gives a user the state directory with what is in it, and the peer's files, which are made for
    /// that. To be done as root.
    ///
    /// # Errors
    /// The directory cannot be given away, as one that has others in it, which is then not only ours.
    pub fn give(&self, state: &Path, user: User) -> io::Result<()> {
        let (uid, gid) = (Some(user.uid), Some(user.gid));
        let metadata = fs::metadata(state)?;
        if metadata.uid() != user.uid {
            if metadata.nlink() > 2 {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            for name in OURS {
                // Most are not there.
                let _ = lchown(state.join(name), uid, gid);
            }
            lchown(state, uid, gid)?;
        }
        // Root can always replace them.
        let peer = self.peer.iter().chain(&self.peer6);
        for path in peer.filter(|path| user.uid != 0 && !is_no_file(path)) {
            let mut options = fs::OpenOptions::new();
            options.write(true).create(true).truncate(false).mode(0o644);
            let file = options.custom_flags(libc::O_NOFOLLOW).open(path);
            let given = file.and_then(|file| match file.metadata()?.nlink() {
                1 => fchown(&file, uid, gid),
                // Another name of somebody's file.
                _ => Err(io::ErrorKind::AlreadyExists.into()),
            });
            if let Err(e) = given {
                log::warn!("{}: cannot be made the user's: {e}", path.display());
            }
        }
        Ok(())
    }

    /// What an earlier run left: our own file, else the peer's.
    pub fn read(&self, clocks: &Clocks) -> Saved {
        if let Some(text) = read_bounded(&self.leases) {
            return leases::read(&text, clocks);
        }
        let text =
            |path: &Option<PathBuf>| path.as_deref().and_then(read_bounded).unwrap_or_default();
        Saved {
            mappings: leases::read_peer(&text(&self.peer), clocks),
            pinholes: leases::read_peer6(&text(&self.peer6), clocks),
            ..Saved::default()
        }
    }

    /// Replaces the state file.
    ///
    /// # Errors
    /// Names the file that could not be written.
    pub fn write_state<B: Backend>(
        &self,
        gateway: &Gateway<B>,
        run: &Run,
        clocks: &Clocks,
    ) -> Result<(), String> {
        replace(&self.leases, 0o600, &mut |out| {
            leases::write(out, all(gateway), gateway.pinholes(), run, clocks)
        })
    }

    /// Replaces the peer's files, those that are wanted.
    ///
    /// # Errors
    /// Names the file that could not be written.
    pub fn write_peer<B: Backend>(
        &self,
        gateway: &Gateway<B>,
        clocks: &Clocks,
    ) -> Result<(), String> {
        if let Some(path) = &self.peer {
            replace(path, 0o644, &mut |out| leases::write_peer(out, all(gateway), clocks))?;
        }
        if let Some(path) = &self.peer6 {
            replace(path, 0o644, &mut |out| leases::write_peer6(out, gateway.pinholes(), clocks))?;
        }
        Ok(())
    }

    /// The UUID an earlier run had, if nothing better is known.
    pub fn uuid(&self) -> Option<[u8; 16]> {
        Some(read_bounded(&self.uuid)?.trim().parse::<Uuid>().ok()?.0)
    }

    /// Keeps the UUID for the next run.
    pub fn keep_uuid(&self, uuid: &[u8; 16]) {
        if self.uuid().as_ref() != Some(uuid) {
            if let Err(e) = replace(&self.uuid, 0o600, &mut |out| write!(out, "{}", Uuid(*uuid))) {
                log::warn!("{e}");
            }
        }
    }
}

/// Every mapping, in the order they were made.
fn all<B: Backend>(gateway: &Gateway<B>) -> impl Iterator<Item = &Mapping> {
    (0..gateway.len()).filter_map(|index| gateway.at(index))
}

/// A file's text, if it is there, not too long and UTF-8 (what is not is replaced).
pub(super) fn read_bounded(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(e) => {
            if e.kind() != io::ErrorKind::NotFound {
                log::warn!("{}: {e}", path.display());
            }
            return None;
        }
    };
    file.take(leases::FILE_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// A file that text is written to, and what went wrong with it.
struct Text {
    file: BufWriter<fs::File>,
    error: Option<io::Error>,
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.file.write_all(text.as_bytes()).map_err(|e| {
            self.error = Some(e);
            fmt::Error
        })
    }
}

/// Whether something other than a file is there, such as `/dev/null`, which says that none is wanted.
fn is_no_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|there| !there.is_file())
}

/// Writes beside the file and renames, so that a reader sees the old text or the new one. Where the
/// folder is not ours but the file is, it is written over. What is no file stays as it is.
fn replace(
    path: &Path,
    mode: u32,
    write: &mut dyn FnMut(&mut dyn Write) -> fmt::Result,
) -> Result<(), String> {
    if is_no_file(path) {
        return Ok(());
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut attempt = || -> io::Result<()> {
        // What is there is a run's that was interrupted, or a link that somebody else put there.
        match fs::remove_file(&beside) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            done => done?,
        }
        let mut options = fs::OpenOptions::new();
        options.write(true).mode(mode).custom_flags(libc::O_NOFOLLOW);
        let opened = options.clone().create_new(true).open(&beside);
        let over = opened.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied);
        let file = if over { options.open(path)? } else { opened? };
        file.set_permissions(PermissionsExt::from_mode(mode))?;
        let mut text = Text { file: BufWriter::new(file), error: None };
        if write(&mut text).is_err() {
            return Err(text.error.unwrap_or_else(|| io::ErrorKind::Other.into()));
        }
        text.file.flush()?;
        if over {
            let file = text.file.get_mut();
            let end = file.stream_position()?;
            return file.set_len(end);
        }
        fs::rename(&beside, path)
    };
    attempt().map_err(|e| {
        // It may have filled the memory that is lacking.
        let _ = fs::remove_file(&beside);
        format!("{}: cannot be written: {e}", path.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_with_its_mode() {
        let dir = std::env::temp_dir().join(format!("postern-files-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("x");
        replace(&path, 0o644, &mut |out| out.write_str("one")).unwrap();
        let victim = dir.join("victim");
        fs::write(&victim, "safe").unwrap();
        std::os::unix::fs::symlink(&victim, dir.join("x.new")).unwrap();
        replace(&path, 0o600, &mut |out| out.write_str("two")).unwrap();
        assert_eq!(read_bounded(&victim).unwrap(), "safe");
        fs::remove_file(&victim).unwrap();
        assert_eq!(read_bounded(&path).unwrap(), "two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        let socket = dir.join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        replace(&socket, 0o644, &mut |out| out.write_str("no")).unwrap();
        assert!(is_no_file(&socket) && is_no_file(Path::new("/dev/null")));
        assert!(replace(&dir.join("no/such"), 0o600, &mut |_| Ok(()))
            .unwrap_err()
            .contains("no/such"));
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn the_peer_file_never_takes_the_place_of_our_own() {
        let peer = |path: &str| {
            let config = Config { upnp_lease_file: Some(path.into()), ..Config::default() };
            Files::new(Path::new("/run/postern/"), &config).peer
        };
        assert_eq!(peer("/run/postern/leases"), None);
        assert_eq!(peer("/run/postern//uuid"), None);
        assert_eq!(peer("/run/postern/control"), None);
        assert_eq!(peer("/run/upnpd.leases"), Some("/run/upnpd.leases".into()));
    }
}
