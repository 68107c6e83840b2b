-- Wireshark shows what docs/protocol.md has in clear: the frames of the handshake, and where records begin and end. It decrypts nothing.
--
-- Theory of operation. Each direction of a connection is a row of units: frames, then perhaps the header of suite 1, then records. What a
-- unit is depends on what came before it in its direction, so it is decided once, in the first pass, and remembered by packet and offset.
-- Which suite was chosen is sealed. If hello offers one suite, it is that. Otherwise it shows in the server's first record, whose length is
-- 512 or 16,384 (section 2.6): there at once with suite 2, behind 24 bytes of header with suite 1.

local securestream = Proto("securestream", "securestream/1")

local KINDS = { [1] = "hello", [2] = "challenge", [3] = "response", [4] = "alert in clear" }
local SUITES = { [1] = "XChaCha20-Poly1305", [2] = "AEGIS-256" }
local ALERTS = {
    [1] = "application error", [2] = "bad challenge response", [3] = "unsupported version or mode", [4] = "no common suite",
    [5] = "unknown server key", [6] = "bad shared secret", [7] = "access denied", [8] = "bad credentials", [9] = "handshake timeout",
    [10] = "busy", [11] = "protocol error", [12] = "bad record", [13] = "internal error", [14] = "shutting down",
    [15] = "backend unavailable", [16] = "idle timeout",
}
local LEAST_RECORD, MOST_RECORD, STREAM_HEADER = { [1] = 22, [2] = 37 }, 16384, 24
local VERDICTS = { [512] = true, [MOST_RECORD] = true }

local f = securestream.fields
f.frame_length = ProtoField.uint16("securestream.frame.length", "Length", base.DEC)
f.frame_kind = ProtoField.uint8("securestream.frame.kind", "Kind", base.DEC, KINDS)
f.magic = ProtoField.string("securestream.hello.magic", "Magic")
f.mode = ProtoField.uint8("securestream.hello.mode", "Mode", base.HEX)
f.psk = ProtoField.bool("securestream.hello.secret", "Uses a shared secret", 8, nil, 0x01)
f.count = ProtoField.uint8("securestream.hello.count", "Suites offered", base.DEC)
f.suite = ProtoField.uint8("securestream.hello.suite", "Suite", base.DEC, SUITES)
f.route = ProtoField.bytes("securestream.hello.route", "Sealed route")
f.session_key = ProtoField.bytes("securestream.session_key", "Session key")
f.sealed = ProtoField.bytes("securestream.sealed", "Sealed")
f.alert = ProtoField.uint16("securestream.alert.code", "Alert code", base.DEC, ALERTS)
f.stream_header = ProtoField.bytes("securestream.stream_header", "Header of XChaCha20-Poly1305's stream")
f.record_number = ProtoField.uint32("securestream.record.number", "Number in its direction", base.DEC)
f.record_length = ProtoField.uint16("securestream.record.length", "Length", base.DEC)
f.record_sealed = ProtoField.bytes("securestream.record.sealed", "Sealed size, type, content and padding")
f.record_suite = ProtoField.uint8("securestream.record.suite", "Suite, as it looks from outside", base.DEC, SUITES)

local bad = ProtoExpert.new("securestream.bad", "Not what may stand here", expert.group.MALFORMED, expert.severity.ERROR)
securestream.experts = { bad }

-- What is known of the connections, by both addresses; and what each unit is, by packet and offset.
local connections, units = {}, {}

function securestream.init()
    connections, units = {}, {}
end

local function looks_like_hello(tvb)
    return tvb:len() >= 7 and tvb(2, 1):uint() == 1 and tvb(3, 4):string() == "SSv1"
end

-- By addresses, for the field tcp.stream isn't there in the first of two passes. A hello begins a new one: ports are used again.
local function connection_of(tvb, pinfo)
    local from, to = pinfo.src_port .. "@" .. tostring(pinfo.src), pinfo.dst_port .. "@" .. tostring(pinfo.dst)
    local name = from < to and from .. " " .. to or to .. " " .. from
    if looks_like_hello(tvb) or not connections[name] then
        connections[name] = {
            from = from,
            client = { frames = { 1, 3 }, records = 0 },
            server = { frames = { 2 }, records = 0 },
        }
    end
    return connections[name], from ~= connections[name].from
end

-- ---------------------------------------------------------------------------------------------------
-- What comes next in a direction

-- How well records of this suite fit, laid from `at` to the end of what is there: 2 if one ends with it, 1 if one goes on, 0 if one is impossible.
local function fit(tvb, at, suite)
    while tvb:len() - at >= 2 do
        local length = tvb(at, 2):le_uint()
        if length < LEAST_RECORD[suite] or length > MOST_RECORD then
            return 0
        end
        at = at + length
    end
    return at == tvb:len() and 2 or 1
end

local function guess_suite(tvb, offset, is_server)
    if is_server then
        return VERDICTS[tvb(offset, 2):le_uint()] and 2 or 1
    end
    -- A client that didn't wait for the verdict.
    local with_header = tvb:len() - offset > STREAM_HEADER and fit(tvb, offset + STREAM_HEADER, 1) or 0
    return fit(tvb, offset, 2) > with_header and 2 or 1
end

-- The suite of a hello that offers one, and one that is known here.
local function only_suite(hello)
    local suite = hello(9, 1):uint()
    return hello(8, 1):uint() == 1 and SUITES[suite] and suite or nil
end

-- The unit that begins at `offset`: its kind and length.
local function next_unit(tvb, offset, connection, is_server)
    local way = is_server and connection.server or connection.client
    local length, kind = tvb(offset, 2):le_uint(), tvb(offset + 2, 1):uint()
    local rest = tvb:len() - offset
    if way.broken then
        return { kind = "broken", length = rest }
    elseif is_server and way.records == 0 and not way.started and length == 5 and kind == 4 then
        return { kind = "frame", length = length }
    elseif #way.frames > 0 then
        local fits = kind == way.frames[1] and length > 3
        return { kind = fits and "frame" or "broken", length = fits and length or rest }
    end
    local suite = connection.suite or guess_suite(tvb, offset, is_server)
    if suite == 1 and not way.started then
        return { kind = "header", length = STREAM_HEADER, suite = suite }
    elseif length < LEAST_RECORD[suite] or length > MOST_RECORD then
        return { kind = "broken", length = rest }
    end
    return { kind = "record", length = length, suite = suite, number = way.records }
end

-- The unit has come as a whole: what that changes.
local function advance(unit, tvb, connection, is_server)
    local way = is_server and connection.server or connection.client
    if unit.kind == "frame" then
        if table.remove(way.frames, 1) == 1 then
            connection.suite = only_suite(tvb)
        end
    elseif unit.kind == "broken" then
        way.broken = true
    else
        way.started = true
        connection.suite = unit.suite
        way.records = way.records + (unit.kind == "record" and 1 or 0)
    end
end

-- What is asked for in the first pass is decided; where the whole of it is there, what follows it is next. Later passes look it up.
local function unit_at(tvb, pinfo, offset)
    local place = table.concat({ pinfo.number, tvb:offset(), tvb:len(), offset }, ":")
    if pinfo.visited and units[place] then
        return units[place]
    end
    local connection, is_server = connection_of(tvb, pinfo)
    local unit = next_unit(tvb, offset, connection, is_server)
    units[place] = unit
    if tvb:len() - offset >= unit.length then
        advance(unit, tvb(offset, unit.length), connection, is_server)
    end
    return unit
end

-- ---------------------------------------------------------------------------------------------------
-- Showing it

local function show_hello(tvb, tree)
    tree:add(f.magic, tvb(3, 4))
    tree:add(f.mode, tvb(7, 1)):add(f.psk, tvb(7, 1))
    local count = tvb(8, 1):uint()
    tree:add(f.count, tvb(8, 1))
    for at = 9, 8 + count do
        tree:add(f.suite, tvb(at, 1))
    end
    tree:add(f.route, tvb(9 + count, 48))
    tree:add(f.session_key, tvb(57 + count, 32))
    if tvb:len() > 89 + count then
        tree:add(f.sealed, tvb(89 + count))
    end
end

local function show_frame(tvb, tree)
    local kind = tvb(2, 1):uint()
    tree:add_le(f.frame_length, tvb(0, 2))
    tree:add(f.frame_kind, tvb(2, 1))
    if kind == 1 then
        show_hello(tvb, tree)
    elseif kind == 2 then
        tree:add(f.session_key, tvb(3, 32))
        tree:add(f.sealed, tvb(35))
    elseif kind == 3 then
        tree:add(f.sealed, tvb(3))
    else
        tree:add_le(f.alert, tvb(3, 2))
        return "alert in clear: " .. (ALERTS[tvb(3, 2):le_uint()] or tvb(3, 2):le_uint())
    end
    return KINDS[kind]
end

local function show_record(tvb, tree, unit)
    tree:add(f.record_suite, unit.suite):set_generated()
    tree:add(f.record_number, unit.number):set_generated()
    tree:add_le(f.record_length, tvb(0, 2))
    tree:add(f.record_sealed, tvb(2))
    return "record of " .. unit.length
end

local function show(tvb, tree, unit)
    if unit.kind == "frame" then
        return show_frame(tvb, tree)
    elseif unit.kind == "record" then
        return show_record(tvb, tree, unit)
    elseif unit.kind == "header" then
        tree:add(f.stream_header, tvb)
        return "stream header"
    end
    tree:add_proto_expert_info(bad)
    return "not what may stand here"
end

-- ---------------------------------------------------------------------------------------------------
-- What Wireshark calls

local function dissect_unit(tvb, pinfo, tree, unit)
    local branch = tree:add(securestream, tvb)
    local said = show(tvb, branch, unit)
    branch:append_text(": " .. said)
    pinfo.cols.info:append(", " .. said)
end

-- Not `dissect_tcp_pdus`: called from a heuristic, it doesn't put together what came in pieces.
function securestream.dissector(tvb, pinfo, tree)
    pinfo.cols.protocol = "securestream"
    local offset = 0
    while offset < tvb:len() do
        local rest = tvb:len() - offset
        local unit = rest >= 3 and unit_at(tvb, pinfo, offset)
        if not unit or unit.length > rest then
            pinfo.desegment_offset = offset
            pinfo.desegment_len = unit and unit.length - rest or DESEGMENT_ONE_MORE_SEGMENT
            return tvb:len()
        end
        dissect_unit(tvb(offset, unit.length), pinfo, tree, unit)
        offset = offset + unit.length
    end
    return offset
end

securestream:register_heuristic("tcp", function(tvb, pinfo, tree)
    if not looks_like_hello(tvb) then
        return false
    end
    pinfo.conversation = securestream
    securestream.dissector(tvb, pinfo, tree)
    return true
end)
DissectorTable.get("tcp.port"):add_for_decode_as(securestream)
