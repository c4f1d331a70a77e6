# frozen_string_literal: true

class Payment < ApplicationRecord
end
