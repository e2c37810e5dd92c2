//! Instructions, counted by `valgrind --tool=callgrind`: exact on any machine.

use super::gateway::{Gateway, Kind};
use super::launch;
use crate::world::{succeed, World};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// [`Kind::Bare`] under callgrind.
pub struct Counted {
    pub gateway: Gateway,
    out: PathBuf,
}

impl Counted {
    /// Starts it.
    pub fn start() -> Counted {
        let world = World::new();
        let dir = world.dir.join("callgrind");
        fs::create_dir(&dir).unwrap();
        let out = dir.join("out");
        let file = format!("--callgrind-out-file={}", out.display());
        let wrapper = ["valgrind", "--tool=callgrind", "-q", &file];
        let gateway = launch::postern(world, Kind::Bare, &wrapper);
        gateway.wait();
        Counted { gateway, out }
    }

    /// Instructions executed while `work` runs on the LAN host.
    pub fn instructions(&self, work: impl FnOnce() + Send) -> f64 {
        let dumps = || fs::read_dir(self.out.parent().unwrap()).unwrap().count();
        self.control("--zero");
        self.gateway.inside(work);
        let before = dumps();
        self.control("--dump");
        let until = Instant::now() + Duration::from_secs(10);
        while dumps() == before && Instant::now() < until {
            sleep(Duration::from_millis(20));
        }
        sleep(Duration::from_millis(200));
        let file = |number: u32| format!("{}.{number}", self.out.display());
        let newest = (1..).map(file).take_while(|name| fs::exists(name).unwrap());
        let text = fs::read_to_string(newest.last().unwrap()).unwrap();
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
        total.unwrap().trim().parse().unwrap()
    }

    fn control(&self, what: &str) {
        let pid = self.gateway.pid.to_string();
        let out = Command::new("callgrind_control").args([what, &pid]).output().unwrap();
        succeed("callgrind_control", out);
    }
}
