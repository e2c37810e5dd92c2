//! What a device sends: answers (UDA 1.1 §1.3.3) and announcements (§1.2.2–§1.2.4).

use std::time::Duration;

/// Longest value written, in bytes; the rest is cut off. With it, a message is at most
/// [`MESSAGE_MAX`] bytes.
pub const VALUE_MAX: usize = 224;
/// Longest message, in bytes: one datagram that is never fragmented (UDA 1.1 §1.2.2).
pub const MESSAGE_MAX: usize = 1400;

/// How long to wait until everything is announced again: at random, at least a quarter and less
/// than half of `max_age` (UDA 1.1 §1.2.2). `random` is uniform over all of `u32`.
pub fn next_alive(max_age: u32, random: u32) -> Duration {
    let quarter = (max_age / 4).max(1);
    Duration::from_secs((quarter + random % quarter).into())
}

/// One thing a device announces or answers for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    /// What it is: `NT` of an announcement, `ST` of an answer.
    pub kind: String,
    /// Which one it is: the device's UDN, with `::` and the kind unless the kind is the UDN.
    pub usn: String,
    /// Where its description is: an absolute URL with a literal address.
    pub location: String,
}

/// What all messages of one device have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Common<'a> {
    /// `SERVER`: `OS/version UPnP/1.1 product/version`.
    pub server: &'a str,
    /// Seconds for which what is said holds, at least 1800 (UDA 1.1 §1.2.2).
    pub max_age: u32,
    /// `BOOTID.UPNP.ORG`: grows with each start and each change of address, below 2³¹.
    pub boot_id: u32,
    /// `CONFIGID.UPNP.ORG`: as in the description, below 2²⁴.
    pub config_id: u32,
    /// `DATE` of an answer, an [IMF-fixdate](crate::proto::http::date); `None` while the router
    /// does not know the time.
    pub date: Option<&'a str>,
    /// `HOST` of an announcement: the group it is sent to.
    pub host: &'a str,
}

/// Appends an answer to a search. `advert.kind` is the searched target, in the client's own text,
/// or, for `ssdp:all`, each thing's own.
pub fn write_response(out: &mut Vec<u8>, advert: &Advert, common: &Common<'_>) {
    Writer::start(out, "HTTP/1.1 200 OK")
        .max_age(common.max_age)
        .optional("DATE", common.date)
        .field("EXT", "")
        .field("LOCATION", &advert.location)
        .field("SERVER", common.server)
        .field("ST", &advert.kind)
        .field("USN", &advert.usn)
        .ids(common)
        .end();
}

/// Appends `ssdp:alive` (UDA 1.1 §1.2.2).
pub fn write_alive(out: &mut Vec<u8>, advert: &Advert, common: &Common<'_>) {
    notify(out, common)
        .max_age(common.max_age)
        .field("LOCATION", &advert.location)
        .field("NT", &advert.kind)
        .field("NTS", "ssdp:alive")
        .field("SERVER", common.server)
        .field("USN", &advert.usn)
        .ids(common)
        .end();
}

/// Appends `ssdp:byebye` (UDA 1.1 §1.2.3).
pub fn write_byebye(out: &mut Vec<u8>, advert: &Advert, common: &Common<'_>) {
    notify(out, common)
        .field("NT", &advert.kind)
        .field("NTS", "ssdp:byebye")
        .field("USN", &advert.usn)
        .ids(common)
        .end();
}

/// Appends `ssdp:update` (UDA 1.1 §1.2.4): everything stays but the boot id, which becomes
/// `next_boot_id`.
pub fn write_update(out: &mut Vec<u8>, advert: &Advert, common: &Common<'_>, next_boot_id: u32) {
    notify(out, common)
        .field("LOCATION", &advert.location)
        .field("NT", &advert.kind)
        .field("NTS", "ssdp:update")
        .field("USN", &advert.usn)
        .ids(common)
        .field("NEXTBOOTID.UPNP.ORG", &next_boot_id.to_string())
        .end();
}

fn notify<'o>(out: &'o mut Vec<u8>, common: &Common<'_>) -> Writer<'o> {
    Writer::start(out, "NOTIFY * HTTP/1.1").field("HOST", common.host)
}

/// A message as it is written, line by line.
struct Writer<'o>(&'o mut Vec<u8>);

impl<'o> Writer<'o> {
    fn start(out: &'o mut Vec<u8>, line: &str) -> Self {
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(b"\r\n");
        Writer(out)
    }

    /// No control character gets through, so no value can begin another line.
    fn field(self, name: &str, value: &str) -> Self {
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(if value.is_empty() { b":" } else { b": " });
        self.0.extend(value.bytes().filter(|b| !b.is_ascii_control()).take(VALUE_MAX));
        self.0.extend_from_slice(b"\r\n");
        self
    }

    fn optional(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.field(name, value),
            None => self,
        }
    }

    fn max_age(self, seconds: u32) -> Self {
        self.field("CACHE-CONTROL", &format!("max-age={seconds}"))
    }

    fn ids(self, common: &Common<'_>) -> Self {
        self.field("BOOTID.UPNP.ORG", &common.boot_id.to_string())
            .field("CONFIGID.UPNP.ORG", &common.config_id.to_string())
    }

    fn end(self) {
        self.0.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests;
