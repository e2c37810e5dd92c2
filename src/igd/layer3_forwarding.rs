//! Layer3Forwarding:1: which connection is the default.

use super::action::Arg::{In, Out};
use super::action::{Action, Call, Kind, Reply, Variable};
use super::codes::Code;
use super::identity::{Face, Identity};
use super::tree::{Service, CONNECTION_DEVICE_INDEX, DEVICES};
use crate::netfilter::Backend;

const DEFAULT: &str = "DefaultConnectionService";
const NEW_DEFAULT: &str = "NewDefaultConnectionService";

/// Its state variables (§2.2).
pub(super) const VARIABLES: &[Variable] = &[Variable::new(DEFAULT, Kind::String).evented()];

/// Its actions (§2.4).
pub(super) fn actions<B: Backend + 'static>() -> &'static [Action<B>] {
    const {
        &[
            Action {
                name: "SetDefaultConnectionService",
                args: &[In(NEW_DEFAULT, DEFAULT)],
                run: set_default,
            },
            Action {
                name: "GetDefaultConnectionService",
                args: &[Out(NEW_DEFAULT, DEFAULT)],
                run: get_default,
            },
        ]
    }
}

/// The container of the connection service: UDN and device type.
pub(super) fn connection_device(id: &Identity, face: Face) -> String {
    let device = &DEVICES[usize::from(CONNECTION_DEVICE_INDEX)];
    let short = [device.kind, ":", face.digit()].concat();
    [&id.udn(face, CONNECTION_DEVICE_INDEX), ":", &short].concat()
}

fn get_default<B: Backend>(call: &mut Call<'_, '_, B>, reply: &mut Reply<'_>) -> Result<(), Code> {
    let device = connection_device(call.ctx.identity, call.face);
    reply.text(&[&device, ",", &Service::WanIp.id()].concat());
    Ok(())
}

/// There is one connection, so the only right value is the one it has.
fn set_default<B: Backend>(call: &mut Call<'_, '_, B>, _: &mut Reply<'_>) -> Result<(), Code> {
    let (device, service) = call.text(NEW_DEFAULT).split_once(',').ok_or(Code::InvalidArgs)?;
    let id = call.ctx.identity;
    let is_ours = |udn: String| device.starts_with(&udn);
    if !(0u8..).zip(&DEVICES).any(|(index, _)| is_ours(id.udn(call.face, index))) {
        return Err(Code::InvalidDeviceUuid);
    }
    if !Service::ALL.iter().any(|known| known.id() == service) {
        return Err(Code::InvalidServiceId);
    }
    let right = device == connection_device(id, call.face) && service == Service::WanIp.id();
    right.then_some(()).ok_or(Code::InvalidConnServiceSelection)
}
