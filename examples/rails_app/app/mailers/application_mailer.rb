# frozen_string_literal: true

class ApplicationMailer < ActionMailer::Base
	default from: "shop@shop.example"
end
