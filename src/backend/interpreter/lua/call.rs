//! What a state is asked for: a call of one of its functions.

use std::marker::PhantomData;

use mlua::{FromLuaMulti, IntoLuaMulti};

use super::{Lua, LuaInstance};
use crate::backend::interpreter::Script;
use crate::error::GuestFault;
use crate::sync::Arc;

/// A call of a script's global function. Arguments and result are whatever mlua turns into values of Lua's and back, one or a tuple of several, that owns what it has: numbers,
/// `bool`, `String`, bytes as `mlua::BString`, `Option`, `Vec` and maps of those, types of yours.
///
/// ```
/// use millpond::interpreter::{Lua, LuaCall};
/// use millpond::{InterpreterPool, Limits};
///
/// let rules = Lua::new("function greet(name, times) return ('hello ' .. name .. ' '):rep(times), times end");
/// let pool = InterpreterPool::builder("rules", rules).limits(Limits::fixed(1)).build()?;
/// let call = LuaCall::<_, (String, u32)>::new("greet", ("pond", 2));
/// assert_eq!(pool.submit_blocking(call)?.join()?, ("hello pond hello pond ".to_owned(), 2));
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Clone, Debug)]
pub struct LuaCall<A, R> {
    function: Arc<str>,
    arguments: A,
    result: PhantomData<fn() -> R>,
}

impl<A, R> LuaCall<A, R> {
    /// A call of the global function of that name.
    pub fn new(function: impl Into<Arc<str>>, arguments: A) -> Self {
        Self { function: function.into(), arguments, result: PhantomData }
    }
}

impl<A, R> Script<Lua> for LuaCall<A, R>
where
    A: IntoLuaMulti + Send + 'static,
    R: FromLuaMulti + Send + 'static,
{
    type Output = R;

    fn run(self, instance: &mut LuaInstance) -> Result<R, GuestFault> {
        instance.call(&self.function, self.arguments)
    }
}
