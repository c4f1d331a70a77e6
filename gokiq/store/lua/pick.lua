-- Take chosen jobs out of a queue, wherever they stand among its oldest. Put in front of a script that calls it.
--
-- pick(queue, claims, number, argv, first, count, most, admit)
--   queue, claims  keys of the list and of the claims hash
--   number         of the first claim; the next ones follow it, in the order of what is taken
--   argv, first    from argv[first] on there are `count` pairs: gate, payload. In their order up to `most` are taken
--   admit(gate)    whether a job that is there may be taken by this gate; counts it if so. Not called for gate 0
-- Returns {ordinals taken}, {ordinals not found}, error text or nil. Ordinals count the pairs from 1; what is in neither
-- list was not admitted, or not looked at.
--
-- A claim is written before its job leaves the list. A job is looked for among the DEPTH oldest: to look through a whole
-- list of a million would block Redis for 40 ms. Of identical payloads each one is found once.

local pick
do
  local CHUNK = 1000 -- unpack() must stay far below Lua's stack limit
  local DEPTH = 2000

  local function is_open(gate, admit) return gate == '0' or admit(tonumber(gate)) end

  local function hset(claims, pairs_)
    local answer = redis.pcall('HSET', claims, unpack(pairs_))
    return type(answer) == 'table' and answer.err or nil
  end

  -- The candidates that are the very tail of the list, in its order: mostly all of them.
  local function pick_tail(state)
    local queue, argv, first = state.queue, state.argv, state.first
    local tail = redis.call('LRANGE', queue, -math.min(state.count, state.most, CHUNK), -1)
    local n, pairs_, at = #tail, {}, 0
    while at < n and tail[n - at] == argv[first + 2 * at + 1] and is_open(argv[first + 2 * at], state.admit) do
      pairs_[2 * at + 1], pairs_[2 * at + 2] = state.number + at, tail[n - at]
      at = at + 1
    end
    if at == 0 then return 0 end
    state.refusal = hset(state.claims, pairs_)
    if state.refusal then return 0 end
    redis.call('LTRIM', queue, 0, -at - 1)
    for i = 1, at do state.taken[i] = i end
    return at
  end

  local function pick_one(state, ordinal)
    local gate, payload = state.argv[state.first + 2 * ordinal - 2], state.argv[state.first + 2 * ordinal - 1]
    if not redis.call('LPOS', state.queue, payload, 'RANK', -1, 'MAXLEN', DEPTH) then
      state.gone[#state.gone + 1] = ordinal
    elseif is_open(gate, state.admit) then
      state.refusal = hset(state.claims, { state.number + #state.taken, payload })
      if state.refusal then return end
      redis.call('LREM', state.queue, -1, payload)
      state.taken[#state.taken + 1] = ordinal
    end
  end

  function pick(queue, claims, number, argv, first, count, most, admit)
    local state = {
      queue = queue, claims = claims, number = number, argv = argv, first = first, count = count, most = most,
      admit = admit, taken = {}, gone = {},
    }
    local ordinal = 1
    local oldest = redis.pcall('LINDEX', queue, -1)
    if type(oldest) == 'table' then
      state.refusal = queue .. ': ' .. oldest.err -- not a list
    elseif oldest and count > 0 and most > 0 and oldest == argv[first + 1] then
      ordinal = 1 + pick_tail(state)
    end
    while ordinal <= count and #state.taken < most and not state.refusal do
      pick_one(state, ordinal)
      ordinal = ordinal + 1
    end
    return state.taken, state.gone, state.refusal
  end
end
