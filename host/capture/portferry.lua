-- Wireshark dissector for the frames of portferry's multiplexer (protocol/SPEC.md), as
-- 'portferry capture --frames' writes them: link type DLT_USER7 (154). Before each frame stand four bytes:
--
--   version    1
--   direction  0 from host to guest, 1 from guest to host
--   kind       0 a handshake, 1 a frame
--   unused     0
--
-- To use it: tshark -X lua_script:portferry.lua -r frames.pcapng, or put it into Wireshark's folder of personal
-- Lua plugins, as 'portferry capture --install-extcap' does.

local ferry = Proto("portferry", "portferry multiplexer")

local DIRECTIONS = { [0] = "host to guest", [1] = "guest to host" }
local KINDS = { [0] = "handshake", [1] = "frame" }
local COMMANDS = {
  [1] = "Open", [2] = "Close", [3] = "Shutdown", [4] = "Data", [5] = "Window",
  [16] = "OpenResult", [17] = "Reset", [18] = "Ping", [19] = "Pong", [20] = "Source", [21] = "GoAway",
}
local STREAM_KINDS = { [1] = "dedicated", [2] = "multiplexed" }
local PROTOCOLS = { [1] = "TCP", [2] = "UDP", [3] = "Unix" }
local STEPS = { [0] = "connected", [1] = "policy", [2] = "dial", [3] = "service" }

local MAGIC_BYTES = 52
local HEAD_BYTES = 4
local FRAME_HEADER_BYTES = 7
local IPV4_MAPPED = "00000000000000000000FFFF"

local f = {
  version = ProtoField.uint8("portferry.version", "Version of this header"),
  direction = ProtoField.uint8("portferry.direction", "Direction", base.DEC, DIRECTIONS),
  kind = ProtoField.uint8("portferry.kind", "Kind", base.DEC, KINDS),
  magic = ProtoField.string("portferry.handshake.magic", "Magic"),
  handshake_length = ProtoField.uint16("portferry.handshake.length", "Length of the payload"),
  handshake_payload = ProtoField.string("portferry.handshake.payload", "Payload", base.UNICODE),
  total = ProtoField.uint16("portferry.total", "Total"),
  command = ProtoField.uint8("portferry.command", "Command", base.DEC, COMMANDS),
  stream = ProtoField.uint32("portferry.stream", "Stream"),
  open_kind = ProtoField.uint8("portferry.open.kind", "Kind of stream", base.DEC, STREAM_KINDS),
  proto = ProtoField.uint8("portferry.destination.proto", "Protocol", base.DEC, PROTOCOLS),
  destination_length = ProtoField.uint16("portferry.destination.length", "Length of address or path"),
  destination_ipv4 = ProtoField.ipv4("portferry.destination.ipv4", "Address"),
  destination_ipv6 = ProtoField.ipv6("portferry.destination.ipv6", "Address"),
  destination_port = ProtoField.uint16("portferry.destination.port", "Port"),
  destination_path = ProtoField.string("portferry.destination.path", "Path", base.UNICODE),
  data_length = ProtoField.uint32("portferry.data.length", "Length of the payload"),
  data = ProtoField.bytes("portferry.data.payload", "Payload"),
  allowed = ProtoField.uint64("portferry.window.allowed", "Allowed"),
  step = ProtoField.uint8("portferry.result.step", "Step", base.DEC, STEPS),
  micros = ProtoField.uint32("portferry.result.micros", "Microseconds of the dial"),
  code_length = ProtoField.uint8("portferry.reason.code_length", "Length of the code"),
  code = ProtoField.string("portferry.reason.code", "Code"),
  message_length = ProtoField.uint16("portferry.reason.message_length", "Length of the message"),
  message = ProtoField.string("portferry.reason.message", "Message", base.UNICODE),
  token = ProtoField.uint64("portferry.ping.token", "Token", base.HEX),
  source_length = ProtoField.uint8("portferry.source.length", "Length of the address"),
  source_ipv4 = ProtoField.ipv4("portferry.source.ipv4", "Address"),
  source_ipv6 = ProtoField.ipv6("portferry.source.ipv6", "Address"),
  source_port = ProtoField.uint16("portferry.source.port", "Port"),
  rest = ProtoField.bytes("portferry.unknown", "Not known here"),
}
ferry.fields = f

local malformed = ProtoExpert.new(
  "portferry.malformed", "Malformed frame", expert.group.MALFORMED, expert.severity.ERROR)
ferry.experts = { malformed }

-- What lies in a frame, read from its beginning; what the capture has cut off is not read.
local Reader = {}
Reader.__index = Reader

local function new_reader(buffer, tree, at)
  return setmetatable({ buffer = buffer, tree = tree, at = at }, Reader)
end

function Reader:left()
  return self.buffer:len() - self.at
end

-- The next bytes, or nil where there are not so many.
function Reader:take(length)
  if self:left() < length then
    self.tree:add_proto_expert_info(malformed)
    self.at = self.buffer:len()
    return nil
  end
  local range = self.buffer(self.at, length)
  self.at = self.at + length
  return range
end

function Reader:number(field, length)
  local range = self:take(length)
  if not range then return nil end
  self.tree:add_le(field, range)
  return range:le_uint()
end

function Reader:text(field, length)
  if length == 0 then return "" end
  local range = self:take(length)
  if not range then return nil end
  local text = range:string(ENC_UTF_8)
  self.tree:add(field, range, text)
  return text
end

-- Addresses are in network order, 4 or 16 bytes; IPv4 in 16 bytes is IPv4 all the same.
function Reader:address(ipv4, ipv6, length)
  if length == 0 then return "" end
  local range = self:take(length)
  if not range then return nil end
  if length == 16 and range(0, 12):bytes():tohex() == IPV4_MAPPED then
    range = range(12, 4)
    length = 4
  end
  if length == 4 then
    self.tree:add(ipv4, range)
    return tostring(range:ipv4())
  elseif length == 16 then
    self.tree:add(ipv6, range)
    return "[" .. tostring(range:ipv6()) .. "]"
  end
  self.tree:add_proto_expert_info(malformed)
  return nil
end

function Reader:reason()
  local code_length = self:number(f.code_length, 1)
  if not code_length then return "" end
  local code = self:text(f.code, code_length)
  local message_length = self:number(f.message_length, 2)
  if not message_length then return code or "" end
  local message = self:text(f.message, message_length)
  if code == "" then return "" end
  return string.format("%s \"%s\"", code or "?", message or "?")
end

function Reader:source_address(what)
  local start = self.at
  local outer = self.tree
  self.tree = outer:add(ferry, self.buffer(start), what)
  local length = self:number(f.source_length, 1)
  local address = length and self:address(f.source_ipv4, f.source_ipv6, length)
  local port = address and self:number(f.source_port, 2)
  self.tree:set_len(self.at - start)
  self.tree = outer
  if not port then return "?" end
  if length == 0 then return "none" end
  return address .. ":" .. port
end

local function dissect_destination(reader)
  local proto = reader:number(f.proto, 1)
  local length = reader:number(f.destination_length, 2)
  if not length then return "?" end
  if proto == 3 then return "unix " .. (reader:text(f.destination_path, length) or "?") end
  local address = reader:address(f.destination_ipv4, f.destination_ipv6, length)
  local port = reader:number(f.destination_port, 2)
  if length == 0 then address = "127.0.0.1" end
  return string.format("%s %s:%s", string.lower(PROTOCOLS[proto] or "?"), address or "?", port or "?")
end

-- For each command, what stands behind the header; the result is for the column Info.
local bodies = {
  [1] = function(reader)
    reader:number(f.open_kind, 1)
    return ", " .. dissect_destination(reader)
  end,
  [4] = function(reader)
    local length = reader:number(f.data_length, 4)
    if not length then return "" end
    local here = math.min(length, reader:left())
    if here > 0 then reader.tree:add(f.data, reader:take(here)) end
    return string.format(", %d bytes%s", length, here < length and " (cut off)" or "")
  end,
  [5] = function(reader)
    local range = reader:take(8)
    if not range then return "" end
    reader.tree:add_le(f.allowed, range)
    return ", allowed " .. tostring(range:le_uint64())
  end,
  [16] = function(reader)
    local step = reader:number(f.step, 1)
    local micros = reader:number(f.micros, 4)
    local reason = reader:reason()
    if not micros then return "" end
    if step == 0 then return string.format(", connected after %d µs", micros) end
    return string.format(", %s failed after %d µs: %s", STEPS[step] or "?", micros, reason)
  end,
  [17] = function(reader) return ", " .. reader:reason() end,
  [18] = function(reader)
    local range = reader:take(8)
    if range then reader.tree:add_le(f.token, range) end
    return ""
  end,
  [20] = function(reader)
    local client = reader:source_address("Client")
    local listener = reader:source_address("Listener")
    return string.format(", client %s, listener %s", client, listener)
  end,
  [21] = function(reader) return ", " .. reader:reason() end,
}
bodies[19] = bodies[18]

local OF_THE_CHANNEL = { [18] = true, [19] = true, [21] = true }

local function dissect_handshake(reader)
  local magic = reader:take(MAGIC_BYTES)
  if not magic then return "Handshake (cut off)" end
  reader.tree:add(f.magic, magic)
  local length = reader:number(f.handshake_length, 2)
  if not length then return "Handshake (cut off)" end
  local payload = reader:text(f.handshake_payload, length)
  return length == 0 and "Handshake of a plain end" or "Handshake " .. (payload or "(cut off)")
end

local function dissect_frame(reader)
  if reader:left() < FRAME_HEADER_BYTES then
    reader.tree:add_proto_expert_info(malformed)
    return "a frame that is cut off"
  end
  reader:number(f.total, 2)
  local command = reader:number(f.command, 1)
  local stream = reader:number(f.stream, 4)
  local name = COMMANDS[command] or string.format("command %d, which is not known", command)
  local info = OF_THE_CHANNEL[command] and name or string.format("%s %d", name, stream)
  local body = bodies[command]
  if body then info = info .. body(reader) end
  if reader:left() > 0 then reader.tree:add(f.rest, reader:take(reader:left())) end
  return info
end

function ferry.dissector(buffer, pinfo, tree)
  if buffer:len() < HEAD_BYTES then return 0 end
  local subtree = tree:add(ferry, buffer())
  subtree:add(f.version, buffer(0, 1))
  subtree:add(f.direction, buffer(1, 1))
  subtree:add(f.kind, buffer(2, 1))
  local from_guest = buffer(1, 1):uint() == 1
  pinfo.cols.protocol = "portferry"
  pinfo.cols.src = from_guest and "guest" or "host"
  pinfo.cols.dst = from_guest and "host" or "guest"
  local reader = new_reader(buffer, subtree, HEAD_BYTES)
  local info = buffer(2, 1):uint() == 0 and dissect_handshake(reader) or dissect_frame(reader)
  pinfo.cols.info = info
  subtree:append_text(", " .. info)
  return buffer:len()
end

local encapsulations = wtap or wtap_encaps
DissectorTable.get("wtap_encap"):add(encapsulations.USER7, ferry)
