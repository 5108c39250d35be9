//! With Lua.

use millpond::GuestFault;
use millpond::interpreter::{Lua, LuaInstance, Script, mlua};

use super::{Polled, Poller};

const SCRIPT: &str = "
    function run() repeat until poll() end
    function trap() error('it was asked to') end
    function spin() while true do end end
    function grow() kept = string.rep('much', 16 << 20) end";

/// An interpreter that does such jobs.
pub fn engine() -> Lua {
    Lua::new(SCRIPT).host(|host| {
        let poll = host.function(|lua, ()| {
            let mut poller = lua.app_data_mut::<Poller>().expect("its job has put one there");
            super::poll(&mut poller).map_err(mlua::Error::external)
        })?;
        host.lua().globals().set("poll", poll)
    })
}

/// The same, with a script that calls `begin` here as it is run.
#[allow(dead_code, reason = "one of the suites that have this has starts that hang")]
pub fn starting(begin: impl Fn() + Clone + Send + Sync + 'static) -> Lua {
    engine().script("start", "begin()").host(move |host| {
        let begin = begin.clone();
        let begins = host.function(move |_, ()| {
            begin();
            Ok(())
        })?;
        host.lua().globals().set("begin", begins)
    })
}

impl<T: Send + 'static> Script<Lua> for Polled<T> {
    type Output = T;

    fn run(self, instance: &mut LuaInstance) -> Result<T, GuestFault> {
        let (poller, output) = self.poller();
        instance.lua().set_app_data(poller);
        let ran = instance.call::<(), ()>("run", ());
        // The future goes before its outcome is known.
        drop(instance.lua().remove_app_data::<Poller>());
        ran.map(|()| output.try_recv().expect("the guest ends when it is ready"))
    }
}
