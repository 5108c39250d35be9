//! What a state is given of this process.

use mlua::{FromLuaMulti, Function, IntoLuaMulti};

use super::watch::Watch;
use crate::sync::Arc;

/// A state before its scripts are run, for [`Lua::host`](super::Lua::host) to give it what they may use.
pub struct LuaHost<'a> {
    pub(super) lua: &'a mlua::Lua,
    pub(super) watch: &'a Arc<Watch>,
}

impl LuaHost<'_> {
    /// The state: its globals, and what mlua can do with it.
    pub fn lua(&self) -> &mlua::Lua {
        self.lua
    }

    /// Makes a function of this process's, to be put wherever scripts are to find it. It runs on the worker's thread, where
    /// [`JobContext::current`](crate::JobContext::current) is the job's. A kill does not reach into it: one that blocks has its worker abandoned. Its error is one that the script may
    /// catch; a panic ends the job.
    ///
    /// One that is made in another way, as by mlua itself, counts as the guest's code: the end of a pool says `Killed` of a job that is in it.
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
        self.lua.create_function(move |lua, arguments: A| watch.outside(lua, || f(lua, arguments)))
    }
}

impl std::fmt::Debug for LuaHost<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LuaHost").field("lua", self.lua).finish_non_exhaustive()
    }
}
