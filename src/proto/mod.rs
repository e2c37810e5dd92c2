//! What is on the wire: pure codecs, one file per protocol.
//!
//! Each parses bytes into values that borrow from them and appends replies to a buffer. None does
//! I/O, reads a clock, or panics, whatever the bytes; none knows what a gateway is.

pub mod blobmsg;
pub mod gena;
pub mod http;
pub mod natpmp;
pub mod pcp;
pub mod soap;
pub mod ssdp;
pub mod ubus;
pub mod xml;
