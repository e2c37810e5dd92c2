//! What a service is made of: actions with typed arguments, and state variables. The same tables
//! dispatch requests and write the service descriptions, so the two cannot differ.

use super::codes::Code;
use super::identity::Face;
use super::Context;
use crate::netfilter::Backend;
use crate::proto::soap;

/// An argument: its name, and the state variable that has its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// The request must have it once.
    In(&'static str, &'static str),
    /// Like `In`, but clients leave it out; empty then.
    Optional(&'static str, &'static str),
    /// The response has it.
    Out(&'static str, &'static str),
}

/// An action and what it does.
pub struct Action<B: Backend + 'static> {
    /// Its name.
    pub name: &'static str,
    /// Its arguments, `in` before `out`, in the order of the DCP.
    pub args: &'static [Arg],
    /// Does it: appends every `out` argument in order, or changes nothing and says why.
    pub run: fn(&mut Call<'_, '_, B>, &mut Reply<'_>) -> Result<(), Code>,
}

/// Type of a state variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `boolean`.
    Boolean,
    /// `string`.
    String,
    /// `ui2`.
    Ui2,
    /// `ui4`.
    Ui4,
}

/// A state variable, as the service description has it.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// `sendEvents`.
    pub evented: bool,
    /// `defaultValue`, empty for none.
    pub default: &'static str,
    /// `allowedValueList`, empty for none.
    pub allowed: &'static [&'static str],
    /// `allowedValueRange`: minimum and maximum.
    pub range: Option<(&'static str, &'static str)>,
}

impl Variable {
    /// A variable that sends no events and takes any value of its type.
    pub const fn new(name: &'static str, kind: Kind) -> Variable {
        Variable { name, kind, evented: false, default: "", allowed: &[], range: None }
    }

    /// The same, with events.
    pub const fn evented(self) -> Variable {
        Variable { evented: true, ..self }
    }

    /// The same, with a default value.
    pub const fn default(self, default: &'static str) -> Variable {
        Variable { default, ..self }
    }

    /// The same, limited to some values.
    pub const fn one_of(self, allowed: &'static [&'static str]) -> Variable {
        Variable { allowed, ..self }
    }

    /// The same, limited to a range.
    pub const fn range(self, min: &'static str, max: &'static str) -> Variable {
        Variable { range: Some((min, max)), ..self }
    }
}

/// One request as an action sees it.
pub struct Call<'c, 'a, B: Backend> {
    /// The world.
    pub ctx: &'c mut Context<'a, B>,
    /// The face whose URL was asked.
    pub face: Face,
    /// The version of the service type in the request: whose rules and codes apply.
    pub version: Face,
    /// What was sent, checked by [`check`].
    pub arguments: &'c [(String, String)],
}

/// Whether `given` has each `in` argument exactly once. Others are ignored.
///
/// # Errors
/// `InvalidArgs`.
pub fn check(args: &[Arg], given: &[(String, String)]) -> Result<(), Code> {
    let count = |name| given.iter().filter(|(n, _)| n == name).count();
    let right = args.iter().all(|arg| match *arg {
        Arg::In(name, _) => count(name) == 1,
        Arg::Optional(name, _) => count(name) <= 1,
        Arg::Out(..) => true,
    });
    right.then_some(()).ok_or(Code::InvalidArgs)
}

impl<'c, B: Backend> Call<'c, '_, B> {
    /// A string argument, trimmed.
    pub fn text(&self, name: &str) -> &'c str {
        self.arguments.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value.trim())
    }

    /// A `ui4` argument: decimal digits only.
    ///
    /// # Errors
    /// `InvalidArgs` for anything else, `OutOfRange` above 4294967295.
    pub fn ui4(&self, name: &str) -> Result<u32, Code> {
        let text = self.text(name);
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Code::InvalidArgs);
        }
        text.parse().map_err(|_| Code::OutOfRange)
    }

    /// A `ui2` argument: decimal digits only, never cut to 16 bits.
    ///
    /// # Errors
    /// `InvalidArgs` for anything else, `OutOfRange` above 65535.
    pub fn ui2(&self, name: &str) -> Result<u16, Code> {
        self.ui4(name)?.try_into().map_err(|_| Code::OutOfRange)
    }

    /// A `boolean` argument, in the spellings of UDA 1.1 §2.5 and in any case.
    ///
    /// # Errors
    /// `InvalidArgs`.
    pub fn boolean(&self, name: &str) -> Result<bool, Code> {
        let text = self.text(name);
        let is = |words: [&str; 3]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
        match (is(["1", "true", "yes"]), is(["0", "false", "no"])) {
            (true, _) => Ok(true),
            (_, true) => Ok(false),
            _ => Err(Code::InvalidArgs),
        }
    }
}

/// The `out` arguments, appended in the order of the action's table.
pub struct Reply<'a> {
    response: soap::Response<'a>,
    names: std::slice::Iter<'static, Arg>,
}

impl<'a> Reply<'a> {
    /// An empty reply to `target`, an action with these arguments.
    pub fn new(target: soap::Target<'a>, args: &'static [Arg]) -> Self {
        Reply { response: soap::Response::new(target), names: args.iter() }
    }

    /// The next argument's value.
    pub fn text(&mut self, value: &str) {
        let name = self.name();
        self.response.argument(name, value);
    }

    /// The next argument's value, a number.
    pub fn number(&mut self, value: u32) {
        self.text(&value.to_string());
    }

    /// The next argument's value, a boolean.
    pub fn flag(&mut self, value: bool) {
        self.text(if value { "1" } else { "0" });
    }

    /// The next argument's value, appended escaped by `write`.
    pub fn text_with(&mut self, write: impl FnOnce(&mut String)) {
        let name = self.name();
        self.response.argument_with(name, write);
    }

    /// The whole body. Every argument must have its value by now.
    pub fn finish(mut self) -> Vec<u8> {
        debug_assert_eq!(self.names.find(|arg| matches!(arg, Arg::Out(..))), None);
        self.response.finish()
    }

    fn name(&mut self) -> &'static str {
        let name = self.names.find_map(|arg| match arg {
            Arg::Out(name, _) => Some(*name),
            _ => None,
        });
        debug_assert!(name.is_some(), "more values than out arguments");
        name.unwrap_or("Surplus")
    }
}
