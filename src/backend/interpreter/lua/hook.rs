//! The hook by which a state looks at its [`Watch`], and what the prelude calls of it: bare functions of Lua's C interface.
//!
//! mlua's own hook will not do. It wants memory before it calls anybody, and has none where a script has used up what there is. And as it fails, it takes the
//! interrupted function's variables off the stack: those that are to be closed it closes there and then, in the hook, where no hook is called any more.
//!
//! # Safety argument
//!
//! - Each function here is called by Lua with a state in which [`install`] has put the address of a `Watch` into the registry, which scripts cannot reach. The state's app
//!   data has a share in that `Watch`, and goes after all code of the state.
//! - `lua_error` jumps over the frames of these functions, and of those they call. None of them has a destructor at that moment: `Watch`'s methods have returned.
//! - Lua has room for 20 values on the stack of a function or hook that it calls; one is used.

use std::ffi::{c_int, c_void};

use mlua::ffi;

use super::watch::Watch;
use crate::backend::interpreter::Crossing;
use crate::sync::Arc;

/// Its address is the key.
static KEY: u8 = 0;

/// What keeps a watch for as long as its state.
struct Kept(#[expect(dead_code, reason = "it is kept")] Arc<Watch>);

fn key() -> *const c_void {
    (&raw const KEY).cast()
}

/// Gives a state its watch.
pub(super) fn install(lua: &mlua::Lua, watch: &Arc<Watch>) -> mlua::Result<()> {
    lua.set_app_data(Kept(watch.clone()));
    let watch = Arc::as_ptr(watch);
    // SAFETY: plain calls, which mlua protects, with room for one value; see above for what is stored.
    unsafe {
        lua.exec_raw((), |state| {
            ffi::lua_pushlightuserdata(state, watch.cast_mut().cast());
            ffi::lua_rawsetp(state, ffi::LUA_REGISTRYINDEX, key());
        })
    }
}

/// Has the hook called in the coroutine that runs, each time so many instructions have passed from here on, and in those that it makes.
pub(super) fn every(lua: &mlua::Lua, instructions: c_int) -> mlua::Result<()> {
    // SAFETY: it touches neither stack nor memory of the state's.
    unsafe { lua.exec_raw((), |state| ffi::lua_sethook(state, Some(hook), ffi::LUA_MASKCOUNT, instructions)) }
}

/// What the prelude is given: looks whether its code may go on; looks as a coroutine is made; says whether it must stop.
pub(super) fn functions(lua: &mlua::Lua) -> mlua::Result<[mlua::Function; 3]> {
    // SAFETY: they are as Lua wants its functions, and are called by the prelude alone, in states that have a watch.
    unsafe {
        Ok([lua.create_c_function(look)?, lua.create_c_function(look_at_new)?, lua.create_c_function(must_stop)?])
    }
}

unsafe fn watch_of<'a>(state: *mut ffi::lua_State) -> &'a Watch {
    // SAFETY: see the top: it is there, and stays for longer than any call from Lua.
    unsafe {
        ffi::lua_rawgetp(state, ffi::LUA_REGISTRYINDEX, key());
        let watch = ffi::lua_touserdata(state, -1).cast::<Watch>();
        ffi::lua_pop(state, 1);
        &*watch
    }
}

/// Fails if its code must not go on; and then each instruction fails that it still comes to here.
unsafe fn end_if(over: bool, state: *mut ffi::lua_State) {
    if over {
        // SAFETY: see the top.
        unsafe {
            ffi::lua_sethook(state, Some(hook), ffi::LUA_MASKCOUNT, 1);
            ffi::lua_pushlightuserdata(state, key().cast_mut());
            ffi::lua_error(state)
        }
    }
}

unsafe extern "C-unwind" fn hook(state: *mut ffi::lua_State, _: *mut ffi::lua_Debug) {
    // SAFETY: see the top; to be asked how much there is changes nothing.
    unsafe {
        let [kib, rest] = [ffi::LUA_GCCOUNT, ffi::LUA_GCCOUNTB].map(|what| ffi::lua_gc(state, what));
        Crossing::with_here(|crossing| {
            crossing.set_memory(u64::from(kib.unsigned_abs()) << 10 | u64::from(rest.unsigned_abs()))
        });
        end_if(watch_of(state).is_over_after_slice(), state)
    }
}

unsafe extern "C-unwind" fn look(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: see the top.
    unsafe { end_if(watch_of(state).is_over(), state) }
    0
}

/// A coroutine has to pay as it is made for what it will not be seen to use: less than a slice.
unsafe extern "C-unwind" fn look_at_new(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: see the top.
    unsafe { end_if(watch_of(state).is_over_after_slice(), state) }
    0
}

unsafe extern "C-unwind" fn must_stop(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: see the top.
    unsafe { ffi::lua_pushboolean(state, watch_of(state).must_stop().into()) }
    1
}
