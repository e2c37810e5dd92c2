//! The fuzz targets of `fuzz/` in a short form: recorded messages of real clients and of the
//! kernel, changed at random. `make fuzz` searches for minutes, guided by what the code does.

// All of this is test code, though only some of it is marked `#[test]`.
#![allow(clippy::unwrap_used)]

mod search;
mod targets;

use search::{captures, changed, search, Random};
use targets::{
    ctl, gena, http, leases, natpmp, netlink, pcp, pcp_service, service, soap, ssdp, ubus, uci,
};

/// Changed messages for a decoder.
const TRIES: u32 = 20_000;

fn decoder(target: fn(&[u8]), seeds: &[Vec<u8>], tries: u32) {
    search(target, seeds, tries, |random| {
        let bytes = random.choice(seeds).unwrap().clone();
        changed(random, bytes)
    });
}

#[test]
fn no_change_of_a_recorded_message_breaks_the_decoder_of_natpmp_items_269_275() {
    decoder(natpmp::run, &captures("captures/pcp", "bin"), TRIES);
}

#[test]
fn no_change_of_a_recorded_message_breaks_the_decoder_of_pcp_items_269_275() {
    decoder(pcp::run, &captures("captures/pcp", "bin"), TRIES);
}

#[test]
fn no_change_of_a_recorded_search_breaks_ssdp_items_269_275() {
    decoder(ssdp::run, &captures("captures/ssdp", "txt"), TRIES / 4);
}

#[test]
fn no_change_of_a_recorded_request_breaks_http_items_269_275() {
    let mut seeds = captures("captures/http", "txt");
    seeds.extend(captures("captures/soap", "http"));
    decoder(http::run, &seeds, TRIES / 8);
}

#[test]
fn no_change_of_a_recorded_request_breaks_soap_items_269_275() {
    decoder(soap::run, &captures("captures/soap", "http"), TRIES / 4);
}

#[test]
fn no_change_of_a_recorded_subscription_breaks_gena_items_269_275() {
    decoder(gena::run, &captures("captures/http", "txt"), TRIES);
}

#[test]
fn no_change_of_a_configuration_breaks_its_reader_items_269_275() {
    let mut seeds = captures("../uci/good", "");
    seeds.extend(captures("../uci/bad", ""));
    decoder(uci::run, &seeds, TRIES / 8);
}

#[test]
fn no_change_of_a_kernel_s_answer_breaks_its_readers_items_269_275() {
    decoder(netlink::run, &captures("captures/netlink", "bin"), TRIES / 4);
}

#[test]
fn no_change_of_a_ubus_message_breaks_its_reader_items_269_275() {
    decoder(ubus::run, &captures("captures/ubus", "bin"), TRIES);
}

#[test]
fn no_change_of_a_question_breaks_the_control_socket_items_269_275() {
    decoder(ctl::run, &captures("captures/ctl", ""), TRIES);
}

#[test]
fn no_change_of_a_lease_file_breaks_its_readers_items_269_275() {
    decoder(leases::run, &captures("captures/leases", ""), TRIES / 4);
}

#[test]
fn no_row_of_messages_brings_the_table_out_of_step_or_over_its_limits() {
    let seeds = captures("captures/pcp", "bin");
    let mut round = 0;
    search(pcp_service::run, &seeds, TRIES / 4, |random| {
        round += 1;
        let most = if round % 100 == 0 { 60 } else { 6 };
        row(random, most, |random, row| {
            let what = random.u8(..) | 0x80;
            if what >> 2 & 15 < 6 {
                return row.extend([what, random.u8(..6)]);
            }
            let message = random.choice(&seeds).unwrap().clone();
            step(row, what, &changed(random, message), 1);
        })
    });
}

#[test]
fn no_row_of_requests_brings_the_table_out_of_step_or_over_its_limits() {
    let packets = captures("captures/pcp", "bin");
    let mut requests = captures("captures/soap", "http");
    requests.extend(captures("captures/http", "txt"));
    let mut round = 0;
    search(service::run, &[], TRIES / 8, |random| {
        round += 1;
        let crowd = round % 50 == 0;
        row(random, if crowd { 80 } else { 12 }, |random, row| {
            let what = random.u8(..);
            match what >> 2 & 15 {
                // All of a host's ports, which are listed in more than one piece.
                0 if crowd => step(row, LIST, &[7, 128, 3, 0, 0, 3], 1),
                // These one after the other, without end.
                3.. if crowd => {
                    step(row, ADD, &[0, 0, random.u8(129..), 0, 0, 0, 0, 0, 3], 1);
                }
                6 | 7 => {
                    let packet = random.choice(&packets).unwrap().clone();
                    step(row, what | 0x80, &changed(random, packet), 1);
                }
                8 => {
                    let request = random.choice(&requests).unwrap().clone();
                    step(row, what, &changed(random, request), service::UNIT);
                }
                3 | 9.. => {
                    // The first values are the good ones; so two requests meet more often.
                    let mut data = [0; 9].map(|_| random.u8(..8) & random.u8(..8) & random.u8(..));
                    data[0] = random.u8(..) & if random.bool() { 3 } else { 31 };
                    step(row, what, &data, 1);
                }
                _ => row.extend([what, random.u8(..)]),
            }
        })
    });
}

/// Actions of the first host, with and without the highest bit.
const ADD: u8 = 9 << 2;
const LIST: u8 = ADD | 0x80;

/// A few steps in a row.
fn row(random: &mut Random, most: usize, one: impl Fn(&mut Random, &mut Vec<u8>)) -> Vec<u8> {
    let mut row = Vec::new();
    for _ in 0..random.usize(0..most) {
        one(random, &mut row);
    }
    row
}

/// A step: what happens, how many units of data there are, and these.
fn step(row: &mut Vec<u8>, what: u8, data: &[u8], unit: usize) {
    let units = data.len().div_ceil(unit).min(255);
    let data = &data[..data.len().min(units * unit)];
    row.extend([what, units as u8]);
    row.extend(data);
    row.resize(row.len() + units * unit - data.len(), 0);
}
