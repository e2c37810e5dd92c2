//! The filter of system calls: what the running daemon does, and nothing else.
//!
//! The list holds what musl, the C library of the routers, and glibc call for what the daemon does
//! once everything is open. On 32-bit machines musl tries the calls with 64-bit times first and
//! takes the old ones where an old kernel lacks them, so both are there. Programs, processes,
//! modules, mounts, other users and executable memory are not.
//!
//! A call that is not listed ends the process by SIGSYS. Kernels before 4.14 take the verdict for
//! that on the thread, of which there is one.

use super::check;
use std::io;

/// `AUDIT_ARCH_…`: the processor's number in ELF, with marks for its width and byte order.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 62 | WIDE | LITTLE;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 183 | WIDE | LITTLE;
#[cfg(target_arch = "arm")]
const ARCHITECTURE: u32 = 40 | LITTLE;
#[cfg(target_arch = "mips")]
const ARCHITECTURE: u32 = 8 | LITTLE;
#[allow(dead_code)]
const WIDE: u32 = 0x8000_0000;
const LITTLE: u32 = if cfg!(target_endian = "little") { 0x4000_0000 } else { 0 };

/// Where o32's calls begin on MIPS; the numbers of the newer calls are the same everywhere else.
#[cfg(target_arch = "mips")]
const BASE: libc::c_long = 4000;
#[cfg(target_arch = "arm")]
const BASE: libc::c_long = 0;

#[cfg(not(any(target_arch = "arm", target_arch = "mips")))]
use libc::SYS_mmap as SYS_MMAP;
#[cfg(any(target_arch = "arm", target_arch = "mips"))]
use libc::SYS_mmap2 as SYS_MMAP;

/// A call's number, small on all of them.
const fn n(call: libc::c_long) -> u16 {
    call as u16
}

/// What is let through whatever its arguments are, the most frequent first.
#[rustfmt::skip]
const ALLOWED: &[u16] = &[
    n(libc::SYS_epoll_pwait), n(libc::SYS_recvfrom), n(libc::SYS_sendto), n(libc::SYS_clock_gettime),
    #[cfg(any(target_arch = "arm", target_arch = "mips"))] n(BASE + 403), // clock_gettime64
    // What glibc makes of send and recv, where musl and the other machines take sendto and recvfrom.
    #[cfg(any(target_arch = "arm", target_arch = "mips"))] n(libc::SYS_send),
    #[cfg(any(target_arch = "arm", target_arch = "mips"))] n(libc::SYS_recv),
    n(libc::SYS_read), n(libc::SYS_write), n(libc::SYS_close), n(libc::SYS_fcntl), n(libc::SYS_openat),
    n(libc::SYS_setsockopt), n(libc::SYS_getsockopt), n(libc::SYS_getsockname), n(libc::SYS_getpeername),
    n(libc::SYS_accept4), n(libc::SYS_accept), n(libc::SYS_epoll_ctl), n(libc::SYS_bind), n(libc::SYS_listen),
    n(libc::SYS_connect), n(libc::SYS_shutdown), n(libc::SYS_recvmsg), n(libc::SYS_sendmsg), n(libc::SYS_readv),
    n(libc::SYS_writev), n(libc::SYS_statx), n(libc::SYS_unlinkat), n(libc::SYS_renameat), n(libc::SYS_renameat2),
    n(libc::SYS_fchmod), n(libc::SYS_ftruncate), n(libc::SYS_lseek),
    n(libc::SYS_brk), n(libc::SYS_munmap), n(libc::SYS_mremap), n(libc::SYS_madvise), n(libc::SYS_getrandom),
    n(libc::SYS_getpid), n(libc::SYS_gettid), n(libc::SYS_futex), n(libc::SYS_nanosleep),
    n(libc::SYS_clock_nanosleep), n(libc::SYS_restart_syscall), n(libc::SYS_rt_sigaction),
    n(libc::SYS_rt_sigprocmask), n(libc::SYS_rt_sigreturn), n(libc::SYS_sigaltstack), n(libc::SYS_exit),
    n(libc::SYS_exit_group),
    #[cfg(not(target_arch = "aarch64"))] n(libc::SYS_epoll_wait),
    #[cfg(not(target_arch = "aarch64"))] n(libc::SYS_poll),
    #[cfg(not(target_arch = "aarch64"))] n(libc::SYS_open),
    #[cfg(not(target_arch = "aarch64"))] n(libc::SYS_unlink),
    #[cfg(not(target_arch = "aarch64"))] n(libc::SYS_rename),
    #[cfg(target_arch = "aarch64")] n(libc::SYS_ppoll),
    #[cfg(target_arch = "x86_64")] n(libc::SYS_stat),
    #[cfg(target_arch = "x86_64")] n(libc::SYS_lstat),
    #[cfg(not(any(target_arch = "arm", target_arch = "mips")))] n(libc::SYS_fstat),
    #[cfg(not(any(target_arch = "arm", target_arch = "mips")))] n(libc::SYS_newfstatat),
    #[cfg(any(target_arch = "arm", target_arch = "mips"))] n(libc::SYS_fstat64),
    #[cfg(any(target_arch = "arm", target_arch = "mips"))] n(libc::SYS_stat64),
    #[cfg(any(target_arch = "arm", target_arch = "mips"))] n(libc::SYS_lstat64),
    #[cfg(any(target_arch = "arm", target_arch = "mips"))] n(libc::SYS_fcntl64),
    #[cfg(any(target_arch = "arm", target_arch = "mips"))] n(libc::SYS_ftruncate64),
    #[cfg(any(target_arch = "arm", target_arch = "mips"))] n(libc::SYS__llseek),
    #[cfg(any(target_arch = "arm", target_arch = "mips"))] n(libc::SYS_gettimeofday),
    #[cfg(any(target_arch = "arm", target_arch = "mips"))] n(BASE + 407), // clock_nanosleep_time64
    #[cfg(any(target_arch = "arm", target_arch = "mips"))] n(BASE + 422), // futex_time64
    #[cfg(target_arch = "arm")] 327, // fstatat64
    #[cfg(target_arch = "mips")] n(BASE + 293), // fstatat64
];

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const ANY_BIT: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

const fn op(code: u16, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

/// Loads the lower half of an argument.
const fn load_argument(index: u32) -> libc::sock_filter {
    op(LOAD, 16 + 8 * index + if cfg!(target_endian = "big") { 4 } else { 0 }, 0, 0)
}

/// The last instruction of the tail, which lets through; the one before ends.
const TAIL_LAST: u8 = 14;

/// How far it is from instruction `at` of the tail to those that let through and that end.
const fn allow(at: u8) -> u8 {
    TAIL_LAST - at - 1
}
const fn kill(at: u8) -> u8 {
    TAIL_LAST - 1 - at - 1
}

/// What comes before the list: the processor, then the number of the call.
const HEAD: [libc::sock_filter; 3] = [
    op(LOAD, 4, 0, 0),
    op(EQUAL, ARCHITECTURE, 0, ALLOWED.len() as u8 + 2 + kill(0)),
    op(LOAD, 0, 0, 0),
];

/// What comes behind it: calls of which the arguments decide. No memory becomes a program; ioctl is
/// what std makes a socket non-blocking with; sockets are of the control socket, ubus and syslog,
/// of both kinds of Internet, and of netlink.
const TAIL: [libc::sock_filter; TAIL_LAST as usize + 1] = [
    op(EQUAL, SYS_MMAP as u32, 1, 0),
    op(EQUAL, libc::SYS_mprotect as u32, 0, 2),
    load_argument(2),
    op(ANY_BIT, libc::PROT_EXEC as u32, kill(3), allow(3)),
    op(EQUAL, libc::SYS_ioctl as u32, 0, 2),
    load_argument(1),
    op(EQUAL, libc::FIONBIO as u32, allow(6), kill(6)),
    op(EQUAL, libc::SYS_socket as u32, 0, kill(7)),
    load_argument(0),
    op(EQUAL, libc::AF_INET as u32, allow(9), 0),
    op(EQUAL, libc::AF_INET6 as u32, allow(10), 0),
    op(EQUAL, libc::AF_NETLINK as u32, allow(11), 0),
    op(EQUAL, libc::AF_UNIX as u32, allow(12), 0),
    op(RETURN, libc::SECCOMP_RET_KILL_PROCESS, 0, 0),
    op(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0),
];

/// Writes the program.
fn program() -> [libc::sock_filter; HEAD.len() + ALLOWED.len() + TAIL.len()] {
    let mut program = [op(EQUAL, 0, 0, 0); HEAD.len() + ALLOWED.len() + TAIL.len()];
    let (head, rest) = program.split_at_mut(HEAD.len());
    let (list, tail) = rest.split_at_mut(ALLOWED.len());
    head.copy_from_slice(&HEAD);
    for ((at, place), call) in list.iter_mut().enumerate().zip(ALLOWED) {
        let left = ALLOWED.len() - at - 1 + TAIL.len() - 1;
        *place = op(EQUAL, (*call).into(), left as u8, 0);
    }
    tail.copy_from_slice(&TAIL);
    program
}

/// Puts the filter in force, until the end and for whatever would be started. Nothing that gains
/// privileges may be startable ([`privileges::keep`](super::privileges::keep)).
///
/// # Errors
/// `EINVAL`: the kernel has no filters.
pub fn install() -> io::Result<()> {
    let mut program = program();
    let header =
        libc::sock_fprog { len: program.len() as libc::c_ushort, filter: program.as_mut_ptr() };
    // SAFETY: the kernel copies the program, whose length is right.
    check(unsafe {
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const header, 0, 0)
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would do: the program's verdict on a call.
    fn verdict(arch: u32, call: libc::c_long, arguments: [u64; 3]) -> u32 {
        let mut data = Vec::new();
        data.extend((call as u32).to_ne_bytes());
        data.extend(arch.to_ne_bytes());
        data.extend([0; 8]);
        arguments.iter().for_each(|argument| data.extend(argument.to_ne_bytes()));
        let (mut at, mut loaded) = (0, 0);
        loop {
            let op = program()[at];
            at += 1;
            let jump = match op.code {
                LOAD => {
                    let at = op.k as usize;
                    loaded = u32::from_ne_bytes(data[at..at + 4].try_into().unwrap());
                    continue;
                }
                EQUAL => loaded == op.k,
                ANY_BIT => loaded & op.k != 0,
                RETURN => return op.k,
                other => panic!("{other}"),
            };
            at += usize::from(if jump { op.jt } else { op.jf });
        }
    }

    const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

    fn of(call: libc::c_long, arguments: [u64; 3]) -> u32 {
        verdict(ARCHITECTURE, call, arguments)
    }

    #[test]
    fn what_is_listed_is_let_through_and_nothing_else_is_270() {
        for number in ALLOWED {
            let call = (*number).into();
            assert_eq!(of(call, [u64::MAX; 3]), ALLOW, "{call}");
            assert_eq!(ALLOWED.iter().filter(|other| *other == number).count(), 1, "{call}");
            assert_eq!(verdict(ARCHITECTURE ^ 1, call, [0; 3]), KILL, "another processor's");
        }
        let argued = [SYS_MMAP, libc::SYS_mprotect, libc::SYS_ioctl, libc::SYS_socket];
        for call in (-1..10_000).chain([0x4000_0000 + libc::SYS_read]) {
            if ALLOWED.iter().all(|listed| libc::c_long::from(*listed) != call)
                && !argued.contains(&call)
            {
                assert_eq!(of(call, [0; 3]), KILL, "{call}");
            }
        }
    }

    /// What musl calls and, with 32 bits, what glibc calls.
    #[test]
    fn sockets_are_read_and_written_by_either_c_library_270() {
        let calls = [
            libc::SYS_sendto,
            libc::SYS_recvfrom,
            #[cfg(any(target_arch = "arm", target_arch = "mips"))]
            libc::SYS_send,
            #[cfg(any(target_arch = "arm", target_arch = "mips"))]
            libc::SYS_recv,
        ];
        for call in calls {
            assert_eq!(of(call, [0; 3]), ALLOW, "{call}");
        }
    }

    #[test]
    fn of_some_calls_the_arguments_decide_270() {
        let high = 7 << 32;
        let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
        for family in 0..64 {
            let expected = if families.contains(&(family as libc::c_int)) { ALLOW } else { KILL };
            assert_eq!(of(libc::SYS_socket, [family, 0, 0]), expected, "{family}");
            assert_eq!(of(libc::SYS_socket, [family | high, 0, 0]), expected, "{family}");
        }
        let (read, execute) = (libc::PROT_READ as u64, libc::PROT_EXEC as u64);
        for call in [SYS_MMAP, libc::SYS_mprotect] {
            assert_eq!(of(call, [0, 4096, read]), ALLOW);
            assert_eq!(of(call, [execute, execute, read | execute]), KILL);
        }
        let set = u64::from(libc::FIONBIO as u32);
        assert_eq!(of(libc::SYS_ioctl, [3, set, 0]), ALLOW);
        assert_eq!(of(libc::SYS_ioctl, [set, set + 1, set]), KILL);
    }
}
