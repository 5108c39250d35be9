-- Run first in each state, before any code of the guest's: takes away what reaches out of it, and sees to it that whoever is to stop does. Why it takes
-- more than a hook: DESIGN.md, section 16. Gives what functions of this process's are wrapped in.
local look, made, must_stop = ...

dofile, loadfile, print, warn, collectgarbage, string.dump = nil

local error, load_any, rawget, set, type = error, load, rawget, setmetatable, type
local call, call_with, close, create, resume, status = pcall, xpcall, coroutine.close, coroutine.create, coroutine.resume, coroutine.status

-- Where there is no room left on the stack for a hook, an error comes in place of its look: who catches one looks for itself, and pays.
local function caught(ok, ...)
    if not ok then
        made()
    end
    return ok, ...
end

function pcall(f, ...)
    return caught(call(f, ...))
end

-- Text alone: bytecode is not checked by anybody.
function load(chunk, name, _, ...)
    return caught(load_any(chunk, name, "t", ...))
end

-- A finalizer runs without hooks: nothing would stop it.
function setmetatable(value, metatable)
    if type(metatable) == "table" and rawget(metatable, "__gc") ~= nil then
        error("there are no finalizers here: a metatable with `__gc` cannot be set", 2)
    end
    return set(value, metatable)
end

-- So does a handler whose error came out of a hook.
function xpcall(f, handler, ...)
    local function guarded(problem)
        if must_stop() then
            return problem
        end
        return handler(problem)
    end
    return caught(call_with(f, guarded, ...))
end

-- Each coroutine has a hook and a count of its own: who comes back from one looks for itself.
local function looked(...)
    look()
    return ...
end

function coroutine.create(f)
    local coroutine = create(f)
    made()
    return coroutine
end

function coroutine.resume(coroutine, ...)
    return looked(resume(coroutine, ...))
end

local function unwrapped(ok, ...)
    look()
    if ok then
        return ...
    end
    error((...), 0)
end

function coroutine.wrap(f)
    local coroutine = create(f)
    made()
    return function(...)
        return unwrapped(resume(coroutine, ...))
    end
end

-- One that has failed may have done so in a hook: what it would close, it would close without hooks.
function coroutine.close(coroutine)
    if status(coroutine) == "dead" then
        return true
    end
    return looked(close(coroutine))
end

-- Such a function says first whether it has an answer. What it failed with, a string, is raised here: so it is Lua's, and counts as memory.
local function passed(ok, ...)
    if ok then
        return ...
    end
    error((...), 0)
end

return function(answer)
    return function(...)
        return passed(answer(...))
    end
end
