//! What a state is given of this process.

use mlua::{FromLuaMulti, Function, IntoLuaMulti, MultiValue, Value};

use super::instance::said;
use super::watch::Watch;
use crate::error::GuestFault;
use crate::sync::Arc;

/// A state before its scripts are run, for [`Lua::host`](super::Lua::host) to give it what they may use.
pub struct LuaHost<'a> {
    pub(super) lua: &'a mlua::Lua,
    pub(super) watch: &'a Arc<Watch>,
    /// Makes of a function that says first whether it has an answer one that answers, or fails.
    pub(super) wrap: &'a Function,
}

impl LuaHost<'_> {
    /// The state: its globals, and what mlua can do with it.
    pub fn lua(&self) -> &mlua::Lua {
        self.lua
    }

    /// Makes a function of this process's, to be put wherever scripts are to find it. It runs on the worker's thread, where
    /// [`JobContext::current`](crate::JobContext::current) is the job's. A kill does not reach into it: one that blocks has its worker abandoned. Its error is one that the script may
    /// catch, as a string, which counts as the instance's memory. A [`GuestFault`] that it fails with ([`mlua::Error::external`]) is the job's, whatever its script would catch; a panic ends
    /// the job.
    ///
    /// One that is made in another way, as by mlua itself, counts as the guest's code: the end of a pool says `Killed` of a job that is in it. What its errors hold lies in this process's memory, where
    /// no limit of the instance's counts it.
    ///
    /// # Errors
    ///
    /// If the state has no memory for it.
    pub fn function<A, R>(
        &self,
        f: impl Fn(&mlua::Lua, A) -> mlua::Result<R> + Send + 'static,
    ) -> mlua::Result<Function>
    where
        A: FromLuaMulti,
        R: IntoLuaMulti,
    {
        let watch = self.watch.clone();
        let answer = self.lua.create_function(move |lua, arguments| watch.outside(lua, || answer(&f, lua, arguments)));
        self.wrap.call(answer?)
    }
}

/// Whether there is an answer, and that; or what is to be raised.
fn answer<A: FromLuaMulti, R: IntoLuaMulti>(
    f: impl Fn(&mlua::Lua, A) -> mlua::Result<R>,
    lua: &mlua::Lua,
    arguments: MultiValue,
) -> mlua::Result<MultiValue> {
    let unfit = |error| mlua::Error::runtime(format!("bad arguments: {}", said(&error)));
    let arguments = A::from_lua_multi(arguments, lua).map_err(unfit);
    match arguments.and_then(|arguments| f(lua, arguments)?.into_lua_multi(lua)) {
        Ok(mut values) => {
            values.push_front(Value::Boolean(true));
            Ok(values)
        }
        Err(error) if error.downcast_ref::<GuestFault>().is_some() => Err(error),
        Err(error) => (false, lua.create_string(said(&error))?).into_lua_multi(lua),
    }
}

impl std::fmt::Debug for LuaHost<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LuaHost").field("lua", self.lua).finish_non_exhaustive()
    }
}
