//! Giving up what only a start needs: the user, capabilities, programs that gain privileges.
//!
//! The calls go to the kernel directly: a C library would make every thread take part, and there is
//! one.

use super::check;
use socket2::{Domain, Socket, Type};
use std::io;

/// Bind to ports below 1024.
pub const NET_BIND_SERVICE: u32 = 1 << 10;
/// What nf_tables, connection tracking and long send queues ask for.
pub const NET_ADMIN: u32 = 1 << 12;
/// What binding to a device asks for in Linux before 5.7.
pub const NET_RAW: u32 = 1 << 13;

/// More than the kernel has, which says of those it has not that they are not.
const CAPABILITIES: libc::c_ulong = 64;
/// `_LINUX_CAPABILITY_VERSION_3`: two words of each kind.
const VERSION: u32 = 0x2008_0522;

// 16-bit numbers of users have the plain names there.
#[cfg(not(target_arch = "arm"))]
use libc::{
    SYS_setgroups as SYS_SETGROUPS, SYS_setresgid as SYS_SETRESGID, SYS_setresuid as SYS_SETRESUID,
};
#[cfg(target_arch = "arm")]
use libc::{
    SYS_setgroups32 as SYS_SETGROUPS, SYS_setresgid32 as SYS_SETRESGID,
    SYS_setresuid32 as SYS_SETRESUID,
};

/// Who somebody is to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// Number of the user.
    pub uid: u32,
    /// Number of the group.
    pub gid: u32,
}

/// Who runs this.
pub fn user() -> User {
    // SAFETY: no pointers; the calls cannot fail.
    unsafe { User { uid: libc::geteuid(), gid: libc::getegid() } }
}

/// Effective, permitted and inheritable capabilities: the lower words, then the upper ones.
type Sets = [u32; 6];

fn capabilities(call: libc::c_long, sets: &mut Sets) -> io::Result<()> {
    let mut header = [VERSION, 0];
    // SAFETY: both point to what this version has; process 0 is this one.
    check(unsafe { libc::syscall(call, header.as_mut_ptr(), sets.as_mut_ptr()) } as libc::c_int)?;
    Ok(())
}

/// Whether binding a socket to a device asks for [`NET_RAW`]: tried without it. `true` when that
/// cannot be told.
fn binding_wants_raw() -> bool {
    let mut sets = Sets::default();
    let attempt = || {
        capabilities(libc::SYS_capget, &mut sets)?;
        let mut without = sets;
        without[0] &= !NET_RAW;
        capabilities(libc::SYS_capset, &mut without)?;
        let bound = Socket::new(Domain::IPV4, Type::DGRAM, None)
            .and_then(|socket| socket.bind_device(Some(b"lo")));
        capabilities(libc::SYS_capset, &mut sets)?;
        bound
    };
    let tried: io::Result<()> = { attempt }();
    tried.is_err_and(|e| e.raw_os_error() != Some(libc::ENODEV))
}

fn become_user(User { uid, gid }: User) -> io::Result<()> {
    // SAFETY: no pointers but the null of an empty list.
    unsafe {
        check(libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0))?;
        check(libc::syscall(SYS_SETGROUPS, 0, 0) as libc::c_int)?;
        check(libc::syscall(SYS_SETRESGID, gid, gid, gid) as libc::c_int)?;
        check(libc::syscall(SYS_SETRESUID, uid, uid, uid) as libc::c_int)?;
    }
    Ok(())
}

/// Becomes `user`, if that is given, without other groups, and keeps `wanted` of the capabilities
/// there are, and [`NET_RAW`] where devices ask for it. No program started from here gains any.
///
/// # Errors
/// The kernel refuses to change the user or the capabilities.
pub fn keep(user: Option<User>, wanted: u32) -> io::Result<()> {
    let wanted = wanted | if binding_wants_raw() { NET_RAW } else { 0 };
    // SAFETY: no pointers. What an old kernel does not know, or an unprivileged process may not, is
    // no worse for being left.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        for capability in 0..CAPABILITIES {
            if capability >= 32 || wanted >> capability & 1 == 0 {
                libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0);
            }
        }
    }
    if let Some(to) = user {
        let done = become_user(to);
        // Root may stay root without leave to change groups.
        if self::user().uid != to.uid {
            done?;
        }
    }
    let mut sets = Sets::default();
    capabilities(libc::SYS_capget, &mut sets)?;
    let kept = sets[1] & wanted;
    // Ambient ones go with the inheritable.
    capabilities(libc::SYS_capset, &mut [kept, kept, 0, 0, 0, 0])
}
