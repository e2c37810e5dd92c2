//! The name of a network device.

use std::fmt;
use std::ops::Deref;

/// Longest device name in bytes: the kernel's IFNAMSIZ without its final NUL.
pub const DEVICE_MAX: usize = 15;

/// The name of a network device as the kernel allows it: 1 to 15 bytes without `/`, `:` and white
/// space, and neither `.` nor `..`. The device need not exist.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Device(heapless::String<DEVICE_MAX>);

impl Device {
    /// The device with this name, or `None` when no device can have it.
    pub fn new(name: &str) -> Option<Device> {
        let wrong = |c: char| matches!(c, '/' | ':') || c.is_whitespace() || c.is_control();
        if matches!(name, "" | "." | "..") || name.contains(wrong) {
            return None;
        }
        heapless::String::try_from(name).ok().map(Device)
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for Device {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_a_name_the_kernel_allows() {
        for name in ["br-lan", "eth0.2", "pppoe-wan", "a", "exactly-fifteen", "..."] {
            assert_eq!(Device::new(name).map(|device| device.to_string()).as_deref(), Some(name));
        }
        for name in ["", ".", "..", "a/b", "a b", "a\tb", "a:b", "sixteen-is-long-", "a\0"] {
            assert_eq!(Device::new(name), None, "{name}");
        }
    }
}
