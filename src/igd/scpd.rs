//! Service descriptions (UDA 1.1 §2.5), written from the tables that dispatch.

use super::action::{Action, Arg, Kind, Variable};
use crate::netfilter::Backend;
use crate::proto::xml::{close, element, open};

/// The description of the service with these actions and variables.
pub fn write<B: Backend + 'static>(
    actions: impl Iterator<Item = &'static Action<B>>,
    variables: impl Iterator<Item = &'static Variable>,
) -> String {
    let mut out = String::from(
        "<?xml version=\"1.0\"?>\r\n<scpd xmlns=\"urn:schemas-upnp-org:service-1-0\">\
         <specVersion><major>1</major><minor>0</minor></specVersion><actionList>",
    );
    for action in actions {
        open(&mut out, "action");
        element(&mut out, "name", action.name);
        if !action.args.is_empty() {
            open(&mut out, "argumentList");
            for arg in action.args {
                let (Arg::In(name, related)
                | Arg::Optional(name, related)
                | Arg::Out(name, related)) = *arg;
                open(&mut out, "argument");
                element(&mut out, "name", name);
                let direction = if matches!(arg, Arg::Out(..)) { "out" } else { "in" };
                element(&mut out, "direction", direction);
                element(&mut out, "relatedStateVariable", related);
                close(&mut out, "argument");
            }
            close(&mut out, "argumentList");
        }
        close(&mut out, "action");
    }
    out.push_str("</actionList><serviceStateTable>");
    for variable in variables {
        write_variable(&mut out, variable);
    }
    out.push_str("</serviceStateTable></scpd>\r\n");
    out
}

fn write_variable(out: &mut String, variable: &Variable) {
    out.push_str("<stateVariable sendEvents=\"");
    out.push_str(if variable.evented { "yes\">" } else { "no\">" });
    element(out, "name", variable.name);
    let kind = match variable.kind {
        Kind::Boolean => "boolean",
        Kind::String => "string",
        Kind::Ui2 => "ui2",
        Kind::Ui4 => "ui4",
    };
    element(out, "dataType", kind);
    if !variable.default.is_empty() {
        element(out, "defaultValue", variable.default);
    }
    if !variable.allowed.is_empty() {
        open(out, "allowedValueList");
        for value in variable.allowed {
            element(out, "allowedValue", value);
        }
        close(out, "allowedValueList");
    }
    if let Some((min, max)) = variable.range {
        open(out, "allowedValueRange");
        for (name, value) in [("minimum", min), ("maximum", max), ("step", "1")] {
            element(out, name, value);
        }
        close(out, "allowedValueRange");
    }
    close(out, "stateVariable");
}
