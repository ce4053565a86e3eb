/**
 * `applyBeat` in Lua, on one hash: `meta`, and a field for each member. KEYS[1]: the hash; ARGV[1]: the beat, JSON. Numbers are
 * joined into text, because cjson writes large ones with an exponent.
 */
export const BEAT: string = `
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local beat = cjson.decode(ARGV[1])
local meta, members, count = nil, {}, 0
local longest, newest, heard, isAlone = 0, 0, 0, true
local fields = redis.call('HGETALL', KEYS[1])
for n = 1, #fields, 2 do
  local value = cjson.decode(fields[n + 1])
  if fields[n] == 'meta' then
    meta = value
  else
    value.expiresAt = math.min(value.expiresAt, now + value.leaseMs)
    local ends = value.expiresAt
    if fields[n] ~= 'm' .. beat.id then isAlone = false end
    longest = math.max(longest, value.leaseMs)
    newest = math.max(newest, ends)
    heard = math.max(heard, ends - value.leaseMs)
    if ends + KEPT * value.leaseMs > now then
      if ends <= now and value.share > value.floor then value.share = value.floor end
      members[string.sub(fields[n], 2)] = value
      count = count + 1
    else
      redis.call('HDEL', KEYS[1], fields[n])
    end
  end
end
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''
local closedUntil = meta and meta.closedUntil or now + beat.leaseMs
if meta and longest > 0 then
  local isUnheard = not isAlone and (newest <= now or now - heard > longest / 2)
  if isUnheard or meta.run ~= run then closedUntil = now + longest end
  closedUntil = math.min(closedUntil, now + longest)
end
if meta == nil or count == 0 then meta = { protocol = beat.protocol, budget = beat.budget } end
redis.call('HSET', KEYS[1], 'meta', string.format(
  '{"protocol":%.0f,"budget":%.0f,"closedUntil":%.17g,"run":"%s"}', meta.protocol, meta.budget, closedUntil, run))
if meta.protocol ~= beat.protocol then return {'protocol', string.format('%.0f', meta.protocol)} end
if meta.budget ~= beat.budget then return {'budget', string.format('%.0f', meta.budget)} end
local own = members[beat.id]
local function sums()
  local floors, taken = 0, 0
  for id, member in pairs(members) do
    if id ~= beat.id then
      floors = floors + member.floor
      taken = taken + member.share
    end
  end
  return floors, taken
end
local floors, taken = sums()
if own == nil and now >= closedUntil and floors + beat.floor > beat.budget then
  for id, member in pairs(members) do
    if member.expiresAt + NEEDED * member.leaseMs <= now then
      members[id] = nil
      redis.call('HDEL', KEYS[1], 'm' .. id)
    end
  end
  floors, taken = sums()
end
if own == nil and floors + beat.floor > beat.budget then return {'floors', string.format('%.0f', floors)} end
local free = 0
if now >= closedUntil then free = math.max(0, meta.budget - taken) end
if own == nil or beat.sequence > own.sequence then
  local share = math.max(beat.held, math.min(beat.wanted, free))
  members[beat.id] = { sequence = beat.sequence, leaseMs = beat.leaseMs, floor = beat.floor,
    weight = beat.weight, demand = beat.demand, share = share, expiresAt = now + beat.leaseMs }
  redis.call('HSET', KEYS[1], 'm' .. beat.id, string.format(
    '{"sequence":%.0f,"leaseMs":%.17g,"floor":%.0f,"weight":%.17g,"demand":%.0f,"share":%.0f,"expiresAt":%.0f}',
    beat.sequence, beat.leaseMs, beat.floor, beat.weight, beat.demand, share, now + beat.leaseMs))
  redis.call('PEXPIRE', KEYS[1], TTL)
end
local share = members[beat.id].share
local answer = {'', string.format('%.0f %d', share, share <= free and 1 or 0)}
for id, member in pairs(members) do
  answer[#answer + 1] = id
  answer[#answer + 1] = string.format('%.0f %.17g %.0f %.0f %d',
    member.floor, member.weight, member.demand, member.share, member.expiresAt <= now and 1 or 0)
end
return answer
`
