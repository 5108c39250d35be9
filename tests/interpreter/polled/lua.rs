//! With Lua.

use millpond::GuestFault;
use millpond::interpreter::{Lua, LuaInstance, Script, mlua};

use super::{Polled, Poller};

const SCRIPT: &str = "
    function run() repeat until poll() end
    function trap() error('it was asked to') end
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
